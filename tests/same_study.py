"""Whether two runs of a study have made the same: a hash of every table of the database and of every file."""

import hashlib
from pathlib import Path

import duckdb

# Of what the files of results hold: the database's own bytes depend on how it was written, its tables do not; the
# page, and the benchmarks, hold times.
FILES = ("contexts/**/*.parquet", "records/**/*.parquet", "answer_tokens/**/*.parquet", "fits/**/*.parquet",
         "ablation/**/*.parquet", "lenses/**/*", "tables/*", "charts/*")  # fmt: skip


def hashes_of_study(results: Path, study: str) -> dict[str, str]:
    """Return a digest of each table and view of a study's database, and of each of its files.

    Args:
        results: the folder ``results/<study>``.
        study: its name.
    """
    found = {
        str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in FILES
        for path in sorted(results.glob(pattern))
        if path.is_file()
    }
    return found | hashes_of_database(results / f"{study}.duckdb")


def hashes_of_database(file: Path) -> dict[str, str]:
    """Return a digest of the rows of each table and view."""
    with duckdb.connect(str(file), read_only=True) as database:
        names = [name for (name,) in database.sql("select table_name from information_schema.tables").fetchall()]
        rows = {name: repr(database.sql(f"from {name} order by all").fetchall()) for name in sorted(names)}
    return {f"table {name}": hashlib.sha256(text.encode()).hexdigest() for name, text in rows.items()}
