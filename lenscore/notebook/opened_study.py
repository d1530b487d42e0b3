"""The results of a finished study, for a notebook: tables, charts, contexts, and SQL over every record."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import altair as alt
import pandas as pd

from lenscore.databases import opened
from lenscore.errors import ConfigError, StoreError, shown


class OpenedStudy:
    """A finished study's results. :func:`lenscore.open_study` makes one.

    Attributes:
        folder: of the results.
        database: the study's DuckDB file.
    """

    def __init__(self, folder: Path, database: Path):
        self.folder = folder
        self.database = database

    @property
    def name(self) -> str:
        """The study's name."""
        return self.database.stem

    @property
    def tables(self) -> list[str]:
        """The names of its tables; docs/database.md says what they hold."""
        return sorted(file.stem for file in (self.folder / "tables").glob("*.parquet"))

    @property
    def charts(self) -> list[str]:
        """The names of its charts."""
        return sorted(file.stem for file in (self.folder / "charts").glob("*.json"))

    def table(self, name: str) -> pd.DataFrame:
        """Return a table.

        Raises:
            ConfigError: the study has no such table.
        """
        _refuse_unknown("table", name, self.tables)
        return pd.read_parquet(self.folder / "tables" / f"{name}.parquet")

    def chart(self, name: str) -> alt.TopLevelMixin:
        """Return a chart, which a notebook shows, and which can be changed and saved.

        Raises:
            ConfigError: the study has no such chart.
        """
        _refuse_unknown("chart", name, self.charts)
        chart: alt.TopLevelMixin = alt.Chart.from_json(
            (self.folder / "charts" / f"{name}.json").read_text(encoding="utf-8")
        )
        return chart

    def sql(self, query: str, parameters: Sequence[object] = ()) -> pd.DataFrame:
        """Return the rows of a query over the study's tables and views, such as ``layer_records`` and ``token_depths``.

        Args:
            query: DuckDB's SQL; the database is opened to be read alone.
            parameters: the values of ``?`` in the query.

        Raises:
            ConfigError: the query is none.
            StoreError: another session writes to the database.
            DamagedFileError: the database cannot be read.
        """
        import duckdb

        with opened(self.database) as connection:
            try:
                return connection.execute(query, list(parameters)).df()
            except duckdb.Error as error:
                raise ConfigError(f"the query cannot be run: {' '.join(str(error).split())}") from None

    def contexts(self) -> pd.DataFrame:
        """Return a row a context: its question, documents and positions, its prompt's text and answer."""
        return self.sql("from contexts order by context_id")

    @property
    def report(self) -> Path:
        """The study's page."""
        return self.folder / "report" / "index.html"

    def __repr__(self) -> str:
        return f"<OpenedStudy {self.name}: {len(self.tables)} tables, {len(self.charts)} charts, in {self.folder}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{kind}</th><td>{escape(', '.join(names))}</td></tr>"
            for kind, names in (("tables", self.tables), ("charts", self.charts))
        )
        return f"<p><b>{escape(self.name)}</b>: {escape(str(self.report))}</p><table>{rows}</table>"


def open_study(folder: str | Path) -> OpenedStudy:
    """Open a finished study's results.

    Args:
        folder: ``results/<study>``.

    Raises:
        StoreError: there is no finished study.
    """
    folder = Path(folder)
    found = sorted(folder.glob("*.duckdb"))
    if len(found) != 1 or not (folder / "tables").is_dir():
        raise StoreError(
            f"{folder}: no results of a finished study: a folder with its database and tables, results/<study>, is "
            f"needed; found {shown([file.name for file in found])}"
        )
    return OpenedStudy(folder, found[0])


def _refuse_unknown(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ConfigError(f"{kind}: there is no {shown(name)}; there are {', '.join(known)}")
