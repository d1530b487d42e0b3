"""A finished study's folder, read: its tables, its config, its counts."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lenscore.databases import opened
from lenscore.report.findings.finding import Row
from lenscore.report.page.provenance import read_provenance
from lenscore.report.page.tables import records

# Whole numbers, though a column of them is one of floats where another row of the table has none.
_WHOLE = ("n_documents", "gold_index", "n_tokens", "layer", "block")

_ALIASES = """
    select count(*) as n_questions, count(*) filter (where len(answers) > 1) as n_several,
        max(len(answers)) as most, avg(len(answers)) as mean_answers
    from questions
"""


@dataclass(frozen=True)
class Results:
    """A finished study.

    Attributes:
        database: the study's DuckDB file.
        tables: the folder of its tables (Parquet) and of ``findings.json``.
    """

    database: Path
    tables: Path

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of the analysis."""
        table = pd.read_parquet(self.tables / f"{name}.parquet")
        return table.astype({column: "Int64" for column in _WHOLE if column in table})

    def rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        """Return the rows of a table that have these values, missing ones as None."""
        return chosen(records(self.table(name)), **values)

    def findings(self) -> dict[str, Any]:
        """Return what the analysis found for sentences: ``settings``, ``disagreements``, ``busiest_layers``."""
        found: dict[str, Any] = json.loads((self.tables / "findings.json").read_text(encoding="utf-8"))
        return found

    def settings(self) -> dict[str, Any]:
        """Return the settings of the statistics."""
        settings: dict[str, Any] = self.findings()["settings"]
        return settings

    def config(self) -> dict[str, Any]:
        """Return the config that the study was run with, without the settings of statistics and report."""
        with opened(self.database) as connection:
            (found,) = connection.execute("select value from study where key = 'config'").fetchall()
        config: dict[str, Any] = json.loads(found[0])
        return config

    def provenance(self) -> dict[str, Any]:
        """Return counts, models, jobs and versions, as the page lists them."""
        return read_provenance(self.database)

    def aliases(self) -> dict[str, Any]:
        """Return how many questions have several accepted answers (``n_several`` of ``n_questions``), and how many."""
        with opened(self.database) as connection:
            return records(connection.execute(_ALIASES).df())[0]


def chosen(rows: Iterable[Row], **values: Any) -> list[dict[str, Any]]:
    """Return the rows that have these values."""
    return [dict(row) for row in rows if all(row[key] == value for key, value in values.items())]


def grouped(rows: Iterable[Row], *keys: str) -> list[list[Row]]:
    """Return the rows that agree in these keys together, in the order of their first rows."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return list(groups.values())
