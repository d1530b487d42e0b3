"""Extraction: a model's residual states at the answer tokens, and what the lens says of them."""
