"""What the records say: estimators over tables, and their intervals.

Reads the database and returns tables; imports no torch. A column of a table is a promise to users (docs/database.md).
"""
