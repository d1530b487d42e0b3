"""Means and ratios in cells, with bootstrap intervals over questions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lenscore.analysis.bootstrap import Bootstrap


def means_with_intervals(
    rows: pd.DataFrame, value: str, keys: list[str], cells: list[str], bootstrap: Bootstrap
) -> pd.DataFrame:
    """Return the mean of a value in each cell, with its studentised bootstrap interval over questions.

    Args:
        rows: one an observation, with columns ``question_id``, ``value``, keys and cells.
        value: the column to average; a null is no observation.
        keys: columns that name a group; each group is resampled separately.
        cells: columns that name a cell within a group; the cells of a group are resampled together, paired by question.
        bootstrap: gives the intervals.

    Returns:
        One row a key × cell, with ``measure`` (the value's name), ``mean``, ``low``, ``high``, ``n_questions`` and
        ``n_tokens`` (number of observations).
    """
    values = rows.astype({value: float})  # a column that holds only nulls has no numeric type
    table = ratios_with_intervals(
        values.assign(n_tokens=values[value].notna()), value, "n_tokens", keys, cells, bootstrap
    )
    named = table.drop(columns=value).rename(columns={"ratio": "mean"}).assign(measure=value)
    return named[[*keys, *cells, "measure", "mean", "low", "high", "n_questions", "n_tokens"]]


def ratios_with_intervals(
    rows: pd.DataFrame, numerator: str, denominator: str, keys: list[str], cells: list[str], bootstrap: Bootstrap
) -> pd.DataFrame:
    """Return the ratio of two sums in each cell, with its studentised bootstrap interval over questions.

    Args:
        rows: with columns ``question_id``, keys and cells, and the two columns to sum.
        numerator: the column whose sum is divided.
        denominator: the column of counts by whose sum it is divided.
        keys: columns that name a group; each group is resampled separately.
        cells: columns that name a cell within a group; the cells of a group are resampled together, paired by question.
        bootstrap: gives the intervals.

    Returns:
        One row a key × cell, with the two sums under their own names, ``ratio``, ``low``, ``high`` (NaN where the
        denominator is 0), and ``n_questions`` (questions whose denominator is not 0).
    """
    tables = []
    for names, group in rows.groupby(keys):
        index, (sums, counts) = question_sums(group, [numerator, denominator], cells)
        table = index.to_frame(index=False, name=cells).assign(**dict(zip(keys, names, strict=True)))
        table[numerator], table[denominator] = sums.sum(axis=0), counts.sum(axis=0).astype(int)
        table["ratio"], table["low"], table["high"] = bootstrap.means(sums, counts)
        table["n_questions"] = (counts > 0).sum(axis=0)
        tables.append(table)
    columns = [*keys, *cells, numerator, denominator, "ratio", "low", "high", "n_questions"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame({column: [] for column in columns})


def question_sums(
    rows: pd.DataFrame, columns: Sequence[str], cells: list[str]
) -> tuple[pd.MultiIndex, tuple[np.ndarray, ...]]:
    """Return the sums of columns by question and cell.

    Args:
        rows: with columns ``question_id`` and cells, and those to sum.
        columns: the columns to sum.
        cells: columns that name a cell.

    Returns:
        The cells, and for each column an array (questions, cells), questions sorted by id; 0 where a question has no
        rows in a cell.
    """
    grouped = rows.groupby(["question_id", *cells], dropna=False)[list(columns)].sum()
    tables = [grouped[column].unstack(cells, fill_value=0) for column in columns]
    found = tables[0].columns
    index = found if isinstance(found, pd.MultiIndex) else pd.MultiIndex.from_arrays([found])
    return index, tuple(table.to_numpy(float) for table in tables)
