"""One forward pass over contexts that share prefixes: every shared token is computed once, at every layer.

Knows token ids and positions, no lens and no Arrow. The states must equal the model's own, and every job compares them
(``lenscore.extraction.self_check``). So sizes and attention kernels may be changed without asking.
"""
