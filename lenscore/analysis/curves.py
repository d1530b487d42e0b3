"""Depth and accuracy against the gold document's position."""

import pandas as pd

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.means import means_with_intervals
from lenscore.analysis.populations import CURVE_KEYS, selections

DEPTHS = ("refinement_depth", "first_correct_layer", "settled_layer", "own_token_refinement_depth")
ACCURACIES = ("first_token", "answer_tokens", "whole_answer")

_POSITION = ["gold_index", "relative_position"]


def refinement_curve(depths: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return the mean of each depth at each gold index, with its bootstrap interval over questions.

    Refinement depth, first-correct and settled layer are over answer tokens that layer L gets right. Own-token
    refinement depth is over all answer tokens at a position, or over the tokens that are right at every position.

    Args:
        depths: rows of view ``token_depths`` with ``n_layers`` (L).
        bootstrap: gives the intervals.

    Returns:
        One row a model × context set × lens × condition × number of documents × gold index × measure × selection
        (``tokens``, ``population``: see :class:`lenscore.analysis.populations.Selection`), with
        ``mean``, ``low``, ``high`` (layers), ``n_questions`` and ``n_tokens`` (observations), and the first three
        divided by L: ``mean_share``, ``low_share``, ``high_share``.
    """
    tables = []
    for selection, right, chosen in selections(depths):
        for measure in DEPTHS:
            rows = chosen if measure == "own_token_refinement_depth" else right
            tables.append(_curve(rows, measure, bootstrap).assign(**selection._asdict()))
    curve = _sorted(pd.concat(tables, ignore_index=True), DEPTHS)
    n_layers = curve["model"].map(depths.groupby("model")["n_layers"].first())
    return curve.assign(**{f"{end}_share": curve[end] / n_layers for end in ("mean", "low", "high")})


def accuracy_curve(depths: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return how often the last layer is right at each gold index, teacher-forced, with intervals over questions.

    The controls ``closed_book`` (no gold index) and ``oracle`` have rows of their own.

    Args:
        depths: rows of view ``token_depths``.
        bootstrap: gives the intervals.

    Returns:
        One row a model × context set × lens × condition × number of documents × gold index × measure:
        ``first_token`` (of answers' first tokens), ``answer_tokens`` (of all), ``whole_answer`` (of
        answers, all tokens right); ``n_tokens`` counts the observations that are averaged.
    """
    keys = [*CURVE_KEYS, *_POSITION, "question_id", "context_id"]
    tokens = depths.assign(right=depths["final_right"].astype(float))
    first = tokens[tokens["answer_index"] == 0]
    whole = tokens.groupby(keys, dropna=False, as_index=False)["right"].min()
    tables = [
        _curve(tokens_of.assign(**{measure: tokens_of["right"]}), measure, bootstrap)
        for measure, tokens_of in zip(ACCURACIES, (first, tokens, whole), strict=True)
    ]
    return _sorted(pd.concat(tables, ignore_index=True), ACCURACIES)


def _curve(rows: pd.DataFrame, measure: str, bootstrap: Bootstrap) -> pd.DataFrame:
    table = means_with_intervals(rows, measure, CURVE_KEYS, _POSITION, bootstrap)
    return table.astype({"gold_index": "Int64"}) if len(table) else table


def _sorted(table: pd.DataFrame, measures: tuple[str, ...]) -> pd.DataFrame:
    order = table["measure"].map(measures.index)
    keys = [column for column in ["tokens", "population", *CURVE_KEYS, "gold_index"] if column in table.columns]
    return table.assign(_order=order).sort_values(["_order", *keys]).drop(columns="_order").reset_index(drop=True)
