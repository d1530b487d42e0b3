"""One forward pass over contexts that share prefixes: every shared token is computed once, at every layer.

Knows token ids and positions, no lens and no Arrow. What it computes must equal the model's own states;
``lenscore.extraction.self_check`` compares them in every job, so that sizes and kernels may be changed without asking.
"""
