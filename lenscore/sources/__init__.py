"""Sources: models and datasets, fetched from where a config says into folders with a manifest.

The Snakefile calls the modules ``check`` and ``contents``, which import nothing slow.
A change to the message of an error, or a new source, needs no new extraction; a change to the
files that are written does.
"""
