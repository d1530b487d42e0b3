"""The statistics: from the database of a study to tables of estimates with intervals.

Imports no torch. The columns of the tables are documented in docs/database.md and change only with it; how they are
computed may change freely as long as the numbers stay the same.
"""
