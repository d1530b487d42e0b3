"""A study's database: a DuckDB file, opened to be read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from lenscore.errors import DamagedFileError, StoreError
from lenscore.hashes import advice

# What DuckDB appends to a database's name for the file of changes that are not yet in the database.
WRITE_AHEAD_LOG = ".wal"


@contextmanager
def opened(database: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection that reads a study's database as it was loaded.

    Raises:
        StoreError: another process writes to it, or a session that was killed has left changes beside it.
        DamagedFileError: it cannot be read.
    """
    changes = database.with_name(database.name + WRITE_AHEAD_LOG)
    if changes.exists():  # DuckDB would apply them, and rows would not be those that were loaded
        raise StoreError(
            f"{changes}: changes that a session made to the database and did not finish; "
            f"end that session, or {advice([str(database)])}"
        )
    try:
        with duckdb.connect(str(database), read_only=True) as connection:
            yield connection
    except duckdb.IOException as error:
        raise StoreError(f"{database}: cannot be opened: {_one_line(error)}") from None
    except duckdb.Error as error:
        if "Corrupt database file" not in str(error):
            raise
        raise DamagedFileError(f"{database}: {_one_line(error)}; {advice([str(database)])}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
