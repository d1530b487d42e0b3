"""Ablation: what a model predicts when the contribution of one of its blocks is replaced.

Uses tokens, statistics and the checked run of ``lenscore.extraction``, and knows nothing of how lenses are trained.
docs/ablation.md defines the replacements: to change them is to change results.
"""
