"""The study's DuckDB file: its tables, the proof that it is complete, and its views.

The views are SQL that users read and query: columns are documented in docs/database.md and changed only with it.
"""
