"""Depth and accuracy against the gold document's position."""

import numpy as np
import pandas as pd

from lenscore.analysis.bootstrap import percentile_interval
from lenscore.study import AnalysisSpec

DEPTHS = ("refinement_depth", "first_correct_layer", "settled_layer", "prediction_depth")
ACCURACIES = ("first_token", "answer_tokens", "whole_answer")

_GROUP = ["model", "context_set", "lens", "n_documents"]
_CELL = ["gold_index", "relative_position"]


def refinement_curve(depths: pd.DataFrame, settings: AnalysisSpec) -> pd.DataFrame:
    """Return the mean of each depth at each gold index, with its bootstrap interval over questions.

    Refinement depth, first-correct and settled layer are over the answer tokens that layer L gets
    right (the paper's population); prediction depth is over all answer tokens.

    Args:
        depths: rows of view ``token_depths``.
        settings: resamples, confidence, seed.

    Returns:
        One row a model × context set × lens × number of documents × gold index × measure, with
        ``mean``, ``low``, ``high`` (layers), ``n_questions`` and ``n_tokens`` (observations).
    """
    placed = depths[depths["condition"] == "documents"]
    right = placed[placed["final_right"]]
    parts = [_curve(placed if measure == "prediction_depth" else right, measure, settings) for measure in DEPTHS]
    return _sorted(pd.concat(parts, ignore_index=True), DEPTHS)


def accuracy_curve(depths: pd.DataFrame, settings: AnalysisSpec) -> pd.DataFrame:
    """Return how often the last layer is right at each gold index, teacher-forced, with intervals over questions.

    Controls stand beside the positions: ``closed_book`` (no gold index) and ``oracle``.

    Returns:
        One row a model × context set × lens × condition × number of documents × gold index × measure:
        ``first_token`` (of answers' first tokens), ``answer_tokens`` (of all), ``whole_answer`` (of
        answers, all tokens right); ``n_tokens`` counts what is averaged.
    """
    keys = [*_GROUP, "condition", *_CELL, "question_id", "context_id"]
    tokens = depths.assign(right=depths["final_right"].astype(float))
    first = tokens[tokens["answer_index"] == 0]
    whole = tokens.groupby(keys, dropna=False, as_index=False)["right"].min()
    parts = [
        _curve(part.assign(**{measure: part["right"]}), measure, settings, extra=["condition"])
        for measure, part in zip(ACCURACIES, (first, tokens, whole), strict=True)
    ]
    return _sorted(pd.concat(parts, ignore_index=True), ACCURACIES)


def question_cells(rows: pd.DataFrame, value: str, cells: list[str]) -> tuple[pd.MultiIndex, np.ndarray, np.ndarray]:
    """Return the cells, and per question × cell the sum and the number of the rows' values."""
    grouped = rows.groupby(["question_id", *cells], dropna=False)[value].agg(["sum", "count"])
    sums = grouped["sum"].unstack(cells, fill_value=0.0)
    counts = grouped["count"].unstack(cells, fill_value=0).reindex(columns=sums.columns)
    columns = sums.columns if isinstance(sums.columns, pd.MultiIndex) else pd.MultiIndex.from_arrays([sums.columns])
    return columns, sums.to_numpy(float), counts.to_numpy(float)


def _curve(rows: pd.DataFrame, measure: str, settings: AnalysisSpec, extra: list[str] | None = None) -> pd.DataFrame:
    parts = []
    for names, group in rows.groupby(_GROUP):
        cells = [*(extra or []), *_CELL]
        index, sums, counts = question_cells(group, measure, cells)
        interval = percentile_interval(
            sums, counts, resamples=settings.resamples, confidence=settings.confidence, seed=settings.seed
        )
        part = index.to_frame(index=False, name=cells)
        for name, value in zip(_GROUP, names, strict=True):
            part[name] = value
        part["measure"] = measure
        part["mean"], part["low"], part["high"] = interval
        part["n_questions"] = (counts > 0).sum(axis=0)
        part["n_tokens"] = counts.sum(axis=0).astype(int)
        parts.append(part)
    columns = [*_GROUP, *(extra or []), *_CELL, "measure", "mean", "low", "high", "n_questions", "n_tokens"]
    if not parts:
        return pd.DataFrame({column: [] for column in columns})
    table = pd.concat(parts, ignore_index=True)[columns]
    return table.astype({"gold_index": "Int64"})


def _sorted(table: pd.DataFrame, measures: tuple[str, ...]) -> pd.DataFrame:
    order = table["measure"].map(measures.index)
    keys = [column for column in [*_GROUP, "condition", "gold_index"] if column in table.columns]
    return table.assign(_order=order).sort_values(["_order", *keys]).drop(columns="_order").reset_index(drop=True)
