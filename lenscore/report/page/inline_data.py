"""Data that the page carries as JSON: packed without repeated names, and no more of it than fits the page."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from lenscore.report.charts.parts import empty_chart

# In bytes. Of the page's 5 MB, Vega takes 0.9, the explorer at most 1.1; the rest is for the HTML tables.
CHARTS_BUDGET = 2_000_000


def script_json(value: Any) -> Markup:
    """Return a value as JSON in which no text can end the script element around it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def packed_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Vega-Lite spec with each dataset packed; ``rowsOf`` in page.js unpacks them.

    A packed dataset has ``columns`` (names), ``texts`` (by column of texts, each text once) and ``rows`` (lists of
    values in the order of ``columns``; in a column of texts, the index of the text).
    """
    datasets = {name: _packed_rows(rows) for name, rows in spec.get("datasets", {}).items()}
    return {**spec, "datasets": datasets}


def within_budget(specs: Mapping[str, Mapping[str, Any]], budget: int = CHARTS_BUDGET) -> dict[str, Mapping[str, Any]]:
    """Return the specs; the largest are replaced by a note that points to their files, until all fit.

    Args:
        specs: packed specs by name.
        budget: bytes of their JSON.
    """
    sizes = {name: len(script_json(spec).encode()) for name, spec in specs.items()}
    kept = dict(specs)
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if sum(sizes.values()) <= budget:
            break
        kept[name] = packed_spec(
            empty_chart("This chart's data are too large for the page: see its SVG below.").to_dict()
        )
        sizes[name] = len(script_json(kept[name]).encode())
    return kept


def _packed_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    values: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in columns}
    texts: dict[str, list[str]] = {}
    for name, column in values.items():
        if all(isinstance(value, str) for value in column):
            index = {text: place for place, text in enumerate(dict.fromkeys(column))}
            texts[name] = list(index)
            values[name] = [index[value] for value in column]
    return {"columns": columns, "texts": texts, "rows": [list(row) for row in zip(*values.values(), strict=True)]}
