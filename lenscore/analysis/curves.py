"""Depth and accuracy against the gold document's position."""

import pandas as pd

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.means import means_with_intervals, ratios_with_intervals
from lenscore.analysis.measures import MEASURES, by_tokens_that_count
from lenscore.analysis.populations import CURVE_KEYS, Selection, is_content, is_first, selections, with_answers
from lenscore.study.analysis import PrimaryAnalysis

ACCURACIES = ("first_token", "content_tokens", "answer_tokens", "whole_answer")
# Of the answer tokens that are right, the shares that two of the populations keep.
SHARES_OF_RIGHT = ("right_in_first_right", "right_in_answer_right")

_POSITION = ["gold_index", "relative_position"]
_ABOVE = {"mean": "above_closed_book", "low": "above_low", "high": "above_high"}
# What a token or answer shares with itself in closed book.
_SAME = ["model", "context_set", "lens", "question_id", "answer_index"]


def refinement_curve(depths: pd.DataFrame, bootstrap: Bootstrap, primary: PrimaryAnalysis) -> pd.DataFrame:
    """Return the mean of each measure at each gold index, with its bootstrap interval over questions.

    A measure of the answer's token is over the tokens that layer L gets right: at rank 1, or at most 5 or 10. A measure
    of the model's own token is over all answer tokens at a position, or over those that are right at every position.

    Args:
        depths: rows of :func:`lenscore.analysis.tokens.answer_tokens`.
        bootstrap: gives the intervals.
        primary: the study's primary analysis.

    Returns:
        One row a model × context set × lens × condition × number of documents × gold index × measure × selection
        (``tokens``, ``population``: see :class:`lenscore.analysis.populations.Selection`), with
        ``mean``, ``low``, ``high`` (layers), ``n_questions`` and ``n_tokens`` (observations), the first three divided
        by L: ``mean_share``, ``low_share``, ``high_share``; and ``gold_distance``: the mean distance of the gold
        document over all contexts at that gold index, in tokens. ``primary_tokens``: whether the selection is that of
        the primary analysis; ``primary``: whether the measure is, too.
    """
    tables = []
    for selection, _, chosen in selections(depths):
        for measures in by_tokens_that_count():
            rows = measures[0].counted(chosen)
            tables.append(_depths(rows, [measure.name for measure in measures], bootstrap, selection))
    curve = _sorted(_with_distances(pd.concat(tables, ignore_index=True), depths), tuple(MEASURES))
    curve["primary_tokens"] = (curve["tokens"] == primary.tokens) & (curve["population"] == primary.population)
    curve["primary"] = curve["primary_tokens"] & (curve["measure"] == primary.measure)
    n_layers = curve["model"].map(depths.groupby("model")["n_layers"].first())
    return curve.assign(**{f"{end}_share": curve[end] / n_layers for end in ("mean", "low", "high")})


def accuracy_curve(depths: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return how often the last layer is right at each gold index, teacher-forced, with intervals over questions.

    The controls ``closed_book`` (no gold index) and ``oracle`` have rows of their own.

    Args:
        depths: rows of view ``token_depths`` with ``first_index`` (the answer index of the answer's first token).
        bootstrap: gives the intervals.

    Returns:
        One row a model × context set × lens × condition × number of documents × gold index × measure, with ``mean``,
        ``low``, ``high``, ``n_questions`` and ``n_tokens`` (observations).

        Shares that are right: ``first_token`` (of answers' first tokens), ``content_tokens`` (of those with a letter or
        digit), ``answer_tokens`` (of all), ``whole_answer`` (of answers, all tokens right). ``above_closed_book`` is
        how far they lie above closed book's on the same tokens or answers, with its paired interval ``above_low`` to
        ``above_high``; null in closed book itself, and without it.

        Of the answer tokens that are right, ``right_in_first_right`` and ``right_in_answer_right`` are the shares in
        answers whose first token, or every token, is right in that context.
    """
    keys = [*CURVE_KEYS, *_POSITION, "question_id", "context_id"]
    tokens = with_answers(depths).assign(right=depths["final_right"].astype(float))
    whole = tokens.groupby(keys, dropna=False, as_index=False)["right"].min().assign(answer_index=0)
    of_measure = (tokens[is_first(tokens)], tokens[is_content(tokens)], tokens, whole)
    tables = [
        _with_closed_book(observed.assign(**{measure: observed["right"]}), measure, bootstrap)
        for measure, observed in zip(ACCURACIES, of_measure, strict=True)
    ]
    right = tokens[tokens["final_right"]]
    tables += [
        _curve(right.assign(**{share: right[share.removeprefix("right_in_")].astype(float)}), share, bootstrap)
        for share in SHARES_OF_RIGHT
    ]
    filled = [table for table in tables if len(table)]
    return _sorted(pd.concat(filled or tables, ignore_index=True), (*ACCURACIES, *SHARES_OF_RIGHT))


def _with_closed_book(rows: pd.DataFrame, measure: str, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return the curve of a measure, and how far it lies above closed book on the same observations."""
    closed = rows["condition"] == "closed_book"
    alone = rows[closed].groupby(_SAME, as_index=False)[measure].mean().rename(columns={measure: "alone"})
    pairs = rows[~closed].merge(alone, on=_SAME)
    above = _curve(pairs.assign(above=pairs[measure] - pairs["alone"]), "above", bootstrap).rename(columns=_ABOVE)
    keys = [*CURVE_KEYS, *_POSITION]
    return _curve(rows, measure, bootstrap).merge(above[[*keys, *_ABOVE.values()]], on=keys, how="left")


def _with_distances(table: pd.DataFrame, depths: pd.DataFrame) -> pd.DataFrame:
    """Add the mean ``gold_distance`` at each gold index, which is the same whatever is measured and of which tokens."""
    keys = [*CURVE_KEYS, "gold_index"]
    contexts = depths[depths["answer_index"] == 0].astype({"gold_index": "Int64", "gold_distance": float})
    distances = contexts.groupby(keys, as_index=False)["gold_distance"].mean()
    return table.merge(distances, on=keys, how="left") if len(table) else table.assign(gold_distance=[])


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
