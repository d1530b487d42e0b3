"""Contexts as Arrow tables: how they are written to files and read from them."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from lenscore.contexts.context import Context, LeftOutQuestion, Segment
from lenscore.records import CONTEXTS, LEFT_OUT


def contexts_to_table(contexts: Iterable[Context]) -> pa.Table:
    """Return contexts as a table of the schema ``records.CONTEXTS``, one row each, in their order."""
    return pa.Table.from_pylist([_row(context) for context in contexts], schema=CONTEXTS)


def contexts_from_table(table: pa.Table) -> list[Context]:
    """Return the contexts of a table of the schema ``records.CONTEXTS``, in the order of its rows."""
    return [_context(row) for row in table.to_pylist()]


def left_out_to_table(questions: Iterable[LeftOutQuestion]) -> pa.Table:
    """Return left-out questions as a table of the schema ``records.LEFT_OUT``, one row each, in their order."""
    return pa.Table.from_pylist([vars(question) for question in questions], schema=LEFT_OUT)


def _row(context: Context) -> dict[str, Any]:
    return vars(context) | {"segments": [segment._asdict() for segment in context.segments]}


def _context(row: dict[str, Any]) -> Context:
    segments = tuple(Segment(**segment) for segment in row["segments"])
    return Context(**row | {"segments": segments, "document_ids": tuple(row["document_ids"])})
