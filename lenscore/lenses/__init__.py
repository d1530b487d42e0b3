"""Lenses: maps from the residual state of a layer to the logits of the vocabulary."""
