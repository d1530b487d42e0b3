"""A model on its device: loading, its parts by name, its blocks and residual states, faster matrix products.

Knows no lens, no contexts and no Arrow. To add a family, extend the names in ``architecture``; numbers must not change:
every job compares them with the model's own code.
"""
