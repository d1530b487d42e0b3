"""The plan of a study: its shards, every path, one typed job a rule, and what makes a result stale.

The rules read it and hold no logic of their own. Whatever is added to a job runs its rule again in every study that
exists; a path may be changed only with what users are told of it. Imports nothing slow, since every
``snakemake`` starts with it.
"""
