"""Contexts: which documents, in which order, in which words.

``VERSION`` counts the changes of this package that make other contexts of the same input.
It is a parameter of the rule ``build_contexts``: raise it with such a change, and every
study's contexts, and what was extracted from them, are made anew.
"""

VERSION = 2
