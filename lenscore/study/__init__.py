"""The config of a study: a module a section, the messages about its errors, its JSON Schema.

Everything that reads a config reads it through :class:`lenscore.study.study.Study`. The package imports no other room
and nothing heavy, since every ``snakemake`` starts with it. A key may be added with its row in
docs/configuration.md; a change of a default changes studies that exist.
"""
