"""The explorer's data: the chosen contexts' grids, small enough for the page."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lenscore.analysis.examples import KINDS
from lenscore.report.charts.token_text import visible_text
from lenscore.report.page.inline_data import script_json

# Bytes of the page's 5 MB: see lenscore.report.page.inline_data.
BUDGET = 1_100_000

_CONTEXT = ["model", "context_set", "n_documents", "gold_index", "relative_position", "kind", "context_id"]
_TEXTS = ["question", "answer", "gold_title"]
_NUMBERS = {"target_probability": 4, "entropy": 3, "kl_to_final": 3}


def explorer_data(examples: pd.DataFrame, budget: int = BUDGET) -> dict[str, Any]:
    """Return as many of the contexts as fit, with the token texts of their cells, JSON-able.

    Args:
        examples: of :func:`lenscore.analysis.examples.study_examples`.
        budget: bytes of their JSON. Contexts of the first kind come before those of the second, whatever their cell.

    Returns:
        ``words``: visible texts of tokens; ``contexts``: one mapping per context, in the table's order, with ``tokens``
        (visible texts of its answer tokens) and ``lenses``: by lens, lists over answer tokens × layers, the layer
        running fastest (``top1``: places in ``words``), and ``first_correct_layer`` and ``settled_layer`` by token;
        ``left_out``: number of contexts that do not fit.
    """
    words: dict[str, int] = {}
    groups = [rows for _, rows in examples.groupby(["model", "context_id"], sort=False)]
    kept = {}
    for place in sorted(range(len(groups)), key=lambda place: KINDS.index(groups[place]["kind"].iloc[0])):
        n_words = len(words)
        context = _context(groups[place], words)
        budget -= len(script_json([context, list(words)[n_words:]]).encode())
        if budget < 0:
            words = dict(list(words.items())[:n_words])
            break
        kept[place] = context
    contexts = [kept[place] for place in sorted(kept)]
    return {"words": list(words), "contexts": contexts, "left_out": len(groups) - len(contexts)}


def _context(rows: pd.DataFrame, words: dict[str, int]) -> dict[str, Any]:
    first = rows.iloc[0]
    tokens = rows[rows["lens"] == first["lens"]].drop_duplicates("answer_index")["target_text"]
    return {
        **{name: _plain(first[name]) for name in [*_CONTEXT, *_TEXTS]},
        "tokens": [visible_text(text) for text in tokens],
        "lenses": {lens: _lens(part, words) for lens, part in rows.groupby("lens", sort=False)},
    }


def _lens(rows: pd.DataFrame, words: dict[str, int]) -> Mapping[str, list[Any]]:
    by_token = rows.drop_duplicates("answer_index")
    return {
        "top1": [words.setdefault(visible_text(text), len(words)) for text in rows["top1_text"]],
        "target_rank": rows["target_rank"].tolist(),
        **{name: rows[name].round(digits).tolist() for name, digits in _NUMBERS.items()},
        **{name: [_plain(value) for value in by_token[name]] for name in ("first_correct_layer", "settled_layer")},
    }


def _plain(value: Any) -> Any:
    """Return a value for JSON: None where it is missing, integral floats as integers."""
    if pd.isna(value):
        return None
    number = value.item() if hasattr(value, "item") else value
    return int(number) if isinstance(number, float) and number.is_integer() else number
