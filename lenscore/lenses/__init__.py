"""Lenses: maps from the residual state of a layer to the logits of the vocabulary, and how they are trained.

A lens is one module here and one line in ``lenscore.study.lenses``. At the last layer every lens is the model itself.
"""
