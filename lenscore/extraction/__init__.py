"""Extraction: contexts as tokens, what a lens says at their answer tokens, and one job over a shard of them.

Definitions of the statistics are fixed by docs/definitions.md; everything that only makes them faster may be changed,
as every job checks itself against the model.
"""
