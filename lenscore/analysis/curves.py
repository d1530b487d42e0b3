"""Depth and accuracy against the gold document's position."""

import pandas as pd

from lenscore.analysis.means import means_with_intervals
from lenscore.analysis.populations import CURVE, selections
from lenscore.study.analysis import AnalysisSpec

DEPTHS = ("refinement_depth", "first_correct_layer", "settled_layer", "own_token_refinement_depth")
ACCURACIES = ("first_token", "answer_tokens", "whole_answer")

_CELL = ["gold_index", "relative_position"]


def refinement_curve(depths: pd.DataFrame, settings: AnalysisSpec) -> pd.DataFrame:
    """Return the mean of each depth at each gold index, with its bootstrap interval over questions.

    Refinement depth, first-correct and settled layer are over answer tokens that layer L gets right;
    own-token refinement depth is over all of a position's, or over those of the population that is the same everywhere.

    Args:
        depths: rows of view ``token_depths``.
        settings: resamples, confidence, seed.

    Returns:
        One row a model × context set × lens × condition × number of documents × gold index × measure × selection
        (``tokens``, ``population``: see :class:`lenscore.analysis.populations.Selection`), with
        ``mean``, ``low``, ``high`` (layers), ``n_questions`` and ``n_tokens`` (observations).
    """
    parts = []
    for selection, right, chosen in selections(depths):
        for measure in DEPTHS:
            rows = chosen if measure == "own_token_refinement_depth" else right
            parts.append(_curve(rows, measure, settings).assign(**selection._asdict()))
    return _sorted(pd.concat(parts, ignore_index=True), DEPTHS)


def accuracy_curve(depths: pd.DataFrame, settings: AnalysisSpec) -> pd.DataFrame:
    """Return how often the last layer is right at each gold index, teacher-forced, with intervals over questions.

    Controls stand beside the positions: ``closed_book`` (no gold index) and ``oracle``.

    Returns:
        One row a model × context set × lens × condition × number of documents × gold index × measure:
        ``first_token`` (of answers' first tokens), ``answer_tokens`` (of all), ``whole_answer`` (of
        answers, all tokens right); ``n_tokens`` counts what is averaged.
    """
    keys = [*CURVE, *_CELL, "question_id", "context_id"]
    tokens = depths.assign(right=depths["final_right"].astype(float))
    first = tokens[tokens["answer_index"] == 0]
    whole = tokens.groupby(keys, dropna=False, as_index=False)["right"].min()
    parts = [
        _curve(part.assign(**{measure: part["right"]}), measure, settings)
        for measure, part in zip(ACCURACIES, (first, tokens, whole), strict=True)
    ]
    return _sorted(pd.concat(parts, ignore_index=True), ACCURACIES)


def _curve(rows: pd.DataFrame, measure: str, settings: AnalysisSpec) -> pd.DataFrame:
    table = means_with_intervals(rows, measure, CURVE, _CELL, settings)
    return table.astype({"gold_index": "Int64"}) if len(table) else table


def _sorted(table: pd.DataFrame, measures: tuple[str, ...]) -> pd.DataFrame:
    order = table["measure"].map(measures.index)
    keys = [column for column in ["tokens", "population", *CURVE, "gold_index"] if column in table.columns]
    return table.assign(_order=order).sort_values(["_order", *keys]).drop(columns="_order").reset_index(drop=True)
