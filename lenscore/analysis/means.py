"""Means of answer tokens' values in cells, with bootstrap intervals over questions."""

import numpy as np
import pandas as pd

from lenscore.analysis.bootstrap import percentile_interval
from lenscore.study import AnalysisSpec


def means_with_intervals(
    rows: pd.DataFrame, value: str, keys: list[str], cells: list[str], settings: AnalysisSpec
) -> pd.DataFrame:
    """Return the mean of a value in each cell, with its percentile bootstrap interval over questions.

    Args:
        rows: one an observation, with columns ``question_id``, ``value``, keys and cells.
        value: the column that is averaged; where it is null there is no observation.
        keys: columns that tell apart what is resampled by itself.
        cells: columns that tell apart means of one resampling, which keep their pairing by question.
        settings: resamples, confidence, seed.

    Returns:
        One row a key × cell, with ``measure`` (the value's name), ``mean``, ``low``, ``high``,
        ``n_questions`` and ``n_tokens`` (observations).
    """
    parts = []
    for names, group in rows.groupby(keys):
        index, sums, counts = question_cells(group, value, cells)
        interval = percentile_interval(
            sums, counts, resamples=settings.resamples, confidence=settings.confidence, seed=settings.seed
        )
        part = index.to_frame(index=False, name=cells)
        for key, name in zip(keys, names, strict=True):
            part[key] = name
        part["measure"] = value
        part["mean"], part["low"], part["high"] = interval
        part["n_questions"] = (counts > 0).sum(axis=0)
        part["n_tokens"] = counts.sum(axis=0).astype(int)
        parts.append(part)
    columns = [*keys, *cells, "measure", "mean", "low", "high", "n_questions", "n_tokens"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame({column: [] for column in columns})


def question_cells(rows: pd.DataFrame, value: str, cells: list[str]) -> tuple[pd.MultiIndex, np.ndarray, np.ndarray]:
    """Return the cells, and per question × cell the sum and the number of the rows' values."""
    values = rows.astype({value: float})  # a column of nulls alone has no type of its own
    grouped = values.groupby(["question_id", *cells], dropna=False)[value].agg(["sum", "count"])
    sums = grouped["sum"].unstack(cells, fill_value=0.0)
    counts = grouped["count"].unstack(cells, fill_value=0).reindex(columns=sums.columns)
    columns = sums.columns if isinstance(sums.columns, pd.MultiIndex) else pd.MultiIndex.from_arrays([sums.columns])
    return columns, sums.to_numpy(float), counts.to_numpy(float)
