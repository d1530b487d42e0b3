"""Depth and accuracy against the gold document's position."""

import pandas as pd

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.means import means_with_intervals, ratios_with_intervals
from lenscore.analysis.measures import MEASURES, by_tokens_that_count
from lenscore.analysis.populations import CURVE_KEYS, Selection, selections

ACCURACIES = ("first_token", "answer_tokens", "whole_answer")

_POSITION = ["gold_index", "relative_position"]


def refinement_curve(depths: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return the mean of each measure at each gold index, with its bootstrap interval over questions.

    A measure of the answer's token is over the tokens that layer L gets right: at rank 1, or at most 5 or 10. A measure
    of the model's own token is over all answer tokens at a position, or over those that are right at every position.

    Args:
        depths: rows of :func:`lenscore.analysis.tokens.answer_tokens`.
        bootstrap: gives the intervals.

    Returns:
        One row a model × context set × lens × condition × number of documents × gold index × measure × selection
        (``tokens``, ``population``: see :class:`lenscore.analysis.populations.Selection`), with
        ``mean``, ``low``, ``high`` (layers), ``n_questions`` and ``n_tokens`` (observations).
    """
    tables = []
    for selection, _, chosen in selections(depths):
        for measures in by_tokens_that_count():
            rows = measures[0].counted(chosen)
            tables.append(_depths(rows, [measure.name for measure in measures], bootstrap, selection))
    return _sorted(pd.concat(tables, ignore_index=True), tuple(MEASURES))


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


def _depths(rows: pd.DataFrame, measures: list[str], bootstrap: Bootstrap, selection: Selection) -> pd.DataFrame:
    """Return the curves of several measures over the same tokens, all at once."""
    columns = [*CURVE_KEYS, *_POSITION, "question_id"]
    long = rows.astype(dict.fromkeys(measures, float)).melt(columns, measures, var_name="measure", value_name="sum")
    table = ratios_with_intervals(
        long.assign(n_tokens=1), "sum", "n_tokens", CURVE_KEYS, ["measure", *_POSITION], bootstrap
    )
    named = table.drop(columns="sum").rename(columns={"ratio": "mean"}).assign(**selection._asdict())
    return named.astype({"gold_index": "Int64"}) if len(named) else named


def _curve(rows: pd.DataFrame, measure: str, bootstrap: Bootstrap) -> pd.DataFrame:
    table = means_with_intervals(rows, measure, CURVE_KEYS, _POSITION, bootstrap)
    return table.astype({"gold_index": "Int64"}) if len(table) else table


def _sorted(table: pd.DataFrame, measures: tuple[str, ...]) -> pd.DataFrame:
    order = table["measure"].map(measures.index)
    keys = [column for column in ["tokens", "population", *CURVE_KEYS, "gold_index"] if column in table.columns]
    return table.assign(_order=order).sort_values(["_order", *keys]).drop(columns="_order").reset_index(drop=True)
