"""Sources: models and datasets, from wherever a config names, as files with a manifest.

Importing the package, or its module ``lines``, imports nothing heavy: the Snakefile does.
"""
