"""Every causal language model class of ``transformers``, tiny and random, through the lens: ``make families``."""
