"""The rows of the page's HTML tables, from the tables of the analysis."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd

from lenscore.analysis.populations import SHAPE_KEYS
from lenscore.report.names import MEASURE_NAMES, POPULATIONS, TOKENS, ablation_name, curve_name

# The page shows no more rows of a table; its files have all.
MAX_ROWS = 600


class _Column(NamedTuple):
    name: str
    title: str
    write: Callable[[float], str]


_OBSERVED = (
    _Column("share_first_right", "first right", "{:.1%}".format),
    _Column("share_settled", "settled", "{:.1%}".format),
    _Column("mean_rise", "rise (nats)", "{:+.2f}".format),
)
_CAUSED = (
    _Column("accuracy_drop", "accuracy lost", "{:+.1%}".format),
    _Column("logprob_drop", "log p lost (nats)", "{:+.2f}".format),
)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows, with None where a value is missing."""
    return [
        {str(key): None if pd.api.types.is_scalar(value) and pd.isna(value) else value for key, value in row.items()}
        for row in table.to_dict("records")
    ]


def essential_table(table: pd.DataFrame) -> dict[str, Any]:
    """Return the table of essential layers over all positions: ``columns``, and ``rows`` of cells.

    A cell's ``share`` is the length of its bar: its value as a percentage of the column's greatest value for the same
    model, context set and lens.
    """
    everywhere = table[(table["region"] == "all") & table["n_documents"].isna()]
    columns = (*_OBSERVED, *(_CAUSED if ablation(table) else ()))
    rows = []
    for names, group in everywhere.groupby(["model", "context_set", "lens"]):
        greatest = group[[column.name for column in columns]].max()
        for row in records(group):
            cells = [_cell(", ".join(map(str, names)), text=True), _cell(str(row["layer"]), row["layer"])]
            for column in columns:
                value = row[column.name]
                if value is None:
                    cells.append(_cell("", ""))
                    continue
                share = max(0.0, 100 * value / greatest[column.name]) if greatest[column.name] > 0 else 0.0
                cells.append(_cell(column.write(value), value, share=round(share, 1)))
            rows.append({"model": row["model"], "lens": row["lens"], "cells": cells})
    titles = [{"title": "model, set, lens", "text": True}, {"title": "layer", "text": False}]
    return {
        "columns": titles + [{"title": column.title, "text": False} for column in columns],
        "rows": rows,
    }


def ablation(essential: pd.DataFrame) -> str | None:
    """Return how the blocks of the table ``essential_layers`` were ablated, in words; None if none was."""
    ablated = essential.dropna(subset="logprob_drop")
    return None if ablated.empty else ablation_name(ablated.iloc[0].to_dict())


def verdict_table(shapes: pd.DataFrame) -> dict[str, Any]:
    """Return the verdicts as a table: a row per curve × depth × choice of tokens, a column per population."""
    rows = []
    for names, group in shapes.groupby([*SHAPE_KEYS, "measure", "tokens"], sort=False):
        curve = dict(zip(SHAPE_KEYS, names, strict=False))
        measure, tokens = names[-2:]
        verdicts = dict(zip(group["population"], group["verdict"], strict=True))
        rows.append(
            {
                **curve,
                "curve": curve_name(curve),
                "over": f"{MEASURE_NAMES[measure]}, {TOKENS[tokens]}",
                "verdicts": [verdicts.get(population) for population in POPULATIONS],
            }
        )
    # A curve's rows stand together, in the order in which they were tested.
    rows.sort(key=lambda row: [row[key] for key in SHAPE_KEYS])
    return {"populations": list(POPULATIONS.values()), "rows": rows}


def _cell(shown: str, value: Any = None, *, text: bool = False, share: float | None = None) -> dict[str, Any]:
    return {"shown": shown, "value": shown if value is None else value, "text": text, "share": share}
