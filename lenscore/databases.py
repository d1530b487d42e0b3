"""A study's database: a DuckDB file, opened to be read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from lenscore.errors import DamagedFileError, StoreError
from lenscore.hashes import advice

# What DuckDB appends to a database's name for the file of changes that are not yet in the database.
WRITE_AHEAD_LOG = ".wal"

# How DuckDB words what its classes of errors do not tell apart.
_IS_WRITTEN_TO = "Could not set lock on file"
_IS_DAMAGED = ("Corrupt database file", "not a valid DuckDB database file", "Could not read enough bytes")


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
    except duckdb.Error as error:
        said = " ".join(str(error).split())
        if _IS_WRITTEN_TO in said:
            raise StoreError(f"{database}: another session writes to it; end that session: {said}") from None
        if any(words in said for words in _IS_DAMAGED):
            raise DamagedFileError(f"{database}: {said}; {advice([str(database)])}") from None
        raise
