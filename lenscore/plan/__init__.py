"""The plan of a study: its shards, every path, one typed job a rule, and what makes a result stale.

The rules read it and hold no logic of their own. A job holds all that decides its result, and nothing else: whatever
is added to it re-runs the rule. Imports nothing heavy, since every ``snakemake`` starts with it.
"""
