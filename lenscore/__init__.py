"""Position-varied logit-lens studies: where in its depth a language model finds an answer."""
