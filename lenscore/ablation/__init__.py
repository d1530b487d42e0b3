"""Ablation: what a model predicts when the contribution of one of its blocks is replaced.

Uses tokens, statistics and self-check of ``lenscore.extraction``, and knows nothing of how lenses are trained. What a
replacement means is in docs/ablation.md; a change of it changes results.
"""
