"""Inserting rows made in Python as one table, which is a hundred times as fast as row by row."""

from collections.abc import Iterable, Sequence
from typing import Any

import duckdb
import pyarrow as pa


def insert_rows(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Insert rows into a table.

    Args:
        connection: to the database.
        table: its name.
        columns: the names of the values of a row, in their order.
        rows: the values of each row.
    """
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    if found:
        connection.register("new_rows", pa.Table.from_pylist(found))
        connection.execute(f"insert into {table} by name select * from new_rows")
        connection.unregister("new_rows")
