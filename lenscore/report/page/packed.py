"""What stands in the page as JSON, made small: charts' data without repeated names, and no more of it than fits."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from lenscore.report.charts.parts import nothing

# Of the page's 5 MB, Vega takes 0.9, the explorer 1.1 at most; tables, cut at MOST_ROWS each, the rest.
CHARTS_BUDGET = 2_000_000
MOST_ROWS = 600


def script_json(value: Any) -> Markup:
    """Return JSON that may stand in a script element, whatever text it holds."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def packed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Vega-Lite spec whose datasets are columns' names, their texts (each once), and rows without names."""
    datasets = {name: _table(rows) for name, rows in spec.get("datasets", {}).items()}
    return {**spec, "datasets": datasets}


def within_budget(specs: Mapping[str, Mapping[str, Any]], budget: int = CHARTS_BUDGET) -> dict[str, Mapping[str, Any]]:
    """Return the specs, the largest replaced by words that point to their files until all fit.

    Args:
        specs: packed specs by name.
        budget: bytes of their JSON.
    """
    sizes = {name: len(script_json(spec).encode()) for name, spec in specs.items()}
    kept = dict(specs)
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if sum(sizes.values()) <= budget:
            break
        kept[name] = packed(nothing("This chart's data are too large for the page: see its SVG below.").to_dict())
        sizes[name] = len(script_json(kept[name]).encode())
    return kept


def _table(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return columns' names, the texts of those that hold text, and rows in which a text is its place among them."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lists: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in columns}
    texts: dict[str, list[str]] = {}
    for name, values in lists.items():
        if all(isinstance(value, str) for value in values):
            places = {text: place for place, text in enumerate(dict.fromkeys(values))}
            texts[name] = list(places)
            lists[name] = [places[value] for value in values]
    return {"columns": columns, "texts": texts, "rows": [list(row) for row in zip(*lists.values(), strict=True)]}
