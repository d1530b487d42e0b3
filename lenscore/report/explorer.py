"""The explorer's data: the chosen contexts' grids in a form small enough to stand in the page."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lenscore.report.visible import visible

_CONTEXT = ["model", "context_set", "n_documents", "gold_index", "relative_position", "kind", "context_id"]
_TEXTS = ["question", "answer", "gold_title"]
_NUMBERS = {"target_probability": 4, "entropy": 3, "kl_to_final": 3}


def explorer_data(examples: pd.DataFrame) -> dict[str, Any]:
    """Return the contexts and the tokens that their cells name, JSON-able.

    Returns:
        ``words``: visible texts of tokens; ``contexts``: a mapping a context, in the table's order, with ``tokens``
        (visible texts of its answer tokens) and ``lenses``: by lens, lists over answer tokens × layers, the layer
        running fastest (``top1``: places in ``words``), and ``first_correct_layer`` and ``settled_layer`` by token.
    """
    words: dict[str, int] = {}
    contexts = []
    for _, rows in examples.groupby(["model", "context_id"], sort=False):
        first = rows.iloc[0]
        tokens = rows[(rows["lens"] == first["lens"])].drop_duplicates("answer_index")["target_text"]
        contexts.append(
            {
                **{name: _plain(first[name]) for name in [*_CONTEXT, *_TEXTS]},
                "tokens": [visible(text) for text in tokens],
                "lenses": {lens: _lens(part, words) for lens, part in rows.groupby("lens", sort=False)},
            }
        )
    return {"words": list(words), "contexts": contexts}


def _lens(rows: pd.DataFrame, words: dict[str, int]) -> Mapping[str, list[Any]]:
    by_token = rows.drop_duplicates("answer_index")
    return {
        "top1": [words.setdefault(visible(text), len(words)) for text in rows["top1_text"]],
        "target_rank": rows["target_rank"].tolist(),
        **{name: rows[name].round(digits).tolist() for name, digits in _NUMBERS.items()},
        **{name: [_plain(value) for value in by_token[name]] for name in ("first_correct_layer", "settled_layer")},
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: null where it is missing, whole numbers whole."""
    if pd.isna(value):
        return None
    number = value.item() if hasattr(value, "item") else value
    return int(number) if isinstance(number, float) and number.is_integer() else number
