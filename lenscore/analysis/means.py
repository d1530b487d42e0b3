"""Means of answer tokens' values in cells, with bootstrap intervals over questions, and cells joined to larger ones."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from lenscore.analysis.bootstrap import percentile_interval
from lenscore.study.analysis import AnalysisSpec


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


def ratios_with_intervals(
    rows: pd.DataFrame, part: str, whole: str, keys: list[str], cells: list[str], settings: AnalysisSpec
) -> pd.DataFrame:
    """Return the ratio of two sums in each cell, with its percentile bootstrap interval over questions.

    Args:
        rows: with columns ``question_id``, keys and cells, and the columns to be summed.
        part: the column whose sum is divided.
        whole: the column of counts by whose sum it is divided.
        keys: columns that tell apart what is resampled by itself.
        cells: columns that tell apart ratios of one resampling, which keep their pairing by question.
        settings: resamples, confidence, seed.

    Returns:
        One row a key × cell, with the sums under their own names, ``ratio``, ``low``, ``high`` (NaN where the whole is
        0), and ``n_questions`` (whose whole is not 0).
    """
    parts = []
    for names, group in rows.groupby(keys):
        index, (sums, counts) = _question_sums(group, [part, whole], cells)
        interval = percentile_interval(
            sums, counts, resamples=settings.resamples, confidence=settings.confidence, seed=settings.seed
        )
        found = index.to_frame(index=False, name=cells).assign(**dict(zip(keys, names, strict=True)))
        found[part], found[whole] = sums.sum(axis=0), counts.sum(axis=0).astype(int)
        found["ratio"], found["low"], found["high"] = interval
        found["n_questions"] = (counts > 0).sum(axis=0)
        parts.append(found)
    columns = [*keys, *cells, part, whole, "ratio", "low", "high", "n_questions"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame({column: [] for column in columns})


def question_cells(rows: pd.DataFrame, value: str, cells: list[str]) -> tuple[pd.MultiIndex, np.ndarray, np.ndarray]:
    """Return the cells, and per question × cell the sum and the number of the rows' values."""
    values = rows.astype({value: float})  # a column of nulls alone has no type of its own
    index, (sums, counts) = _question_sums(values.assign(_n=values[value].notna()), [value, "_n"], cells)
    return index, sums, counts


def _question_sums(
    rows: pd.DataFrame, columns: Sequence[str], cells: list[str]
) -> tuple[pd.MultiIndex, tuple[np.ndarray, ...]]:
    """Return the cells, and of each column the sums per question × cell; 0 where a question has no rows in a cell."""
    grouped = rows.groupby(["question_id", *cells], dropna=False)[list(columns)].sum()
    tables = [grouped[column].unstack(cells, fill_value=0) for column in columns]
    found = tables[0].columns
    index = found if isinstance(found, pd.MultiIndex) else pd.MultiIndex.from_arrays([found])
    return index, tuple(table.to_numpy(float) for table in tables)


PLACE = ["n_documents", "gold_index", "relative_position"]
ALL, BY_LENGTH, BY_PLACE = PLACE[:0], PLACE[:1], PLACE


def at_each_join(make: Callable[[list[str]], pd.DataFrame], *joins: list[str]) -> pd.DataFrame:
    """Return a table made over all contexts, over those of each number of documents, and over those of each place.

    Args:
        make: returns the table by the given columns of ``PLACE``.
        joins: of ``ALL``, ``BY_LENGTH``, ``BY_PLACE``.

    Returns:
        The tables under one another. What is joined in a row is null in it: ``gold_index`` and
        ``relative_position`` where positions are, ``n_documents`` where numbers of documents are too.
    """
    tables = [make(list(join)).assign(**{name: None for name in PLACE if name not in join}) for join in joins]
    whole = pd.concat([table.astype({name: "Float64" for name in PLACE}) for table in tables], ignore_index=True)
    return whole.astype({"n_documents": "Int64", "gold_index": "Int64", "relative_position": float})
