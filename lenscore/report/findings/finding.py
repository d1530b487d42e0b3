"""Findings: sentences, and the rows that carry their numbers, as Markdown.

A number in a sentence must stand in one of the sentence's own rows, or in the titles of their columns, written with the
same digits; otherwise the document is not made.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lenscore.errors import LenscoreError

Row = Mapping[str, Any]

NOTHING = "*The study has no such records.*"

# A sign, digits with or without thousands' commas, decimals, percent; not a part of a name, such as smollm2-135m.
_NUMBER = re.compile(r"(?<![\w.-])([+−]?)(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(%?)(?!\w)")


class UnsupportedNumberError(LenscoreError):
    """A sentence has a number that none of its rows has."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: its name in the table's head.
        write: makes a row's cell.
    """

    title: str
    write: Callable[[Row], str]


@dataclass(frozen=True)
class Finding:
    """A sentence, and the rows that carry its numbers."""

    sentence: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Block:
    """Findings with one table, whose first column says which sentences a row carries.

    Attributes:
        columns: of the table.
        findings: the sentences with their rows.
        rows: all rows of the table in their order; rows that only findings have follow. Rows whose cells are equal are
            one; columns without any cell are left out.
    """

    columns: Sequence[Column]
    findings: Sequence[Finding] = ()
    rows: Sequence[Row] = ()

    def markdown(self) -> str:
        """Return the numbered sentences and the table.

        Raises:
            UnsupportedNumberError: a sentence has a number that is neither in its rows nor in the columns' titles.
        """
        titles = [column.title for column in self.columns]
        carries: dict[tuple[str, ...], list[int]] = {self._cells(row): [] for row in self.rows}
        for place, finding in enumerate(self.findings, start=1):
            own = list(dict.fromkeys(self._cells(row) for row in finding.rows))
            check_numbers(finding.sentence, [*titles, *(cell for cells in own for cell in cells)])
            for cells in own:
                carries.setdefault(cells, []).append(place)
        if not carries:
            return NOTHING
        rows = [(", ".join(map(str, places)), *cells) for cells, places in carries.items()]
        table = markdown_table(["sentence", *titles], rows)
        sentences = [f"{place}. {finding.sentence}" for place, finding in enumerate(self.findings, start=1)]
        return "\n".join([*sentences, "", table]) if sentences else table

    def _cells(self, row: Row) -> tuple[str, ...]:
        return tuple(column.write(row) for column in self.columns)


def check_numbers(sentence: str, texts: Sequence[str]) -> None:
    """Refuse a sentence with a number that none of the texts has, digit for digit.

    A number with a sign needs one with that sign, where one without a sign is above 0; a number without a sign, which
    says “above” or “below” in words, needs one with either.

    Raises:
        UnsupportedNumberError: there is such a number.
    """
    found = {number for text in texts for number in _numbers(text)}
    either = {digits for _, digits in found}
    missing = [
        f"{sign}{digits}"
        for sign, digits in _numbers(sentence)
        if digits not in either or (sign and not {(sign, digits), ("" if sign == "+" else sign, digits)} & found)
    ]
    if missing:
        raise UnsupportedNumberError(f"{', '.join(missing)}: in none of the rows of the sentence “{sentence}”")


def _numbers(text: str) -> list[tuple[str, str]]:
    """Return the numbers of a text as sign and digits, percent sign included."""
    return [
        (sign, f"{whole.replace(',', '')}{decimals}{percent}")
        for sign, whole, decimals, percent in _NUMBER.findall(text)
    ]


def markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, without the columns that have no cell."""
    kept = [place for place in range(len(titles)) if any(row[place] for row in rows)]
    lines = [[line[place] for place in kept] for line in (titles, ["---"] * len(titles), *rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
