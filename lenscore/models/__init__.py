"""A model on its device: loading, its parts by name, its blocks and residual states, fast matrix products.

Knows no lens, no contexts and no Arrow. To support another family, extend the names in ``architecture``. How things are
computed may be changed without asking, numbers may not: every job compares them with the model's own code.
"""
