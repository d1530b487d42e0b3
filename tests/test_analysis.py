"""The statistics, on cases worked by hand and on simulated ones."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lenscore.analysis.bootstrap import Bootstrap, _weights
from lenscore.analysis.curves import accuracy_curve, refinement_curve
from lenscore.analysis.measures import MEASURES
from lenscore.study.analysis import PrimaryAnalysis

PRIMARY = PrimaryAnalysis()
BOOTSTRAP = Bootstrap(resamples=400, confidence=0.95, seed=0)


def depth_row(
    question: str, place: int, index: int, first: int | None, settled: int | None, **other: Any
) -> dict[str, Any]:
    """One answer token of view token_depths, by default among 3 documents."""
    n = other.pop("n_documents", 3)
    right = settled is not None
    depth = settled - first if settled is not None and first is not None else None
    return {
        "model": "m",
        "context_set": "main",
        "lens": "logit",
        "context_id": f"main/{question}/{n}/{place}",
        "question_id": question,
        "condition": "documents",
        "n_documents": n,
        "distractor_order": 0,
        "gold_index": place,
        "relative_position": place / (n - 1),
        "gold_distance": 100 - 30 * place,
        "n_layers": 8,
        "answer_index": index,
        "token_class": "word start",
        "first_content_index": 0,
        "first_index": 0,
        "final_right": right,
        "first_correct_layer": first,
        "settled_layer": settled,
        "refinement_depth": depth,
        **{
            f"{name}{top}": value
            for top in ("_top5", "_top10")
            for name, value in (("first_correct_layer", first), ("settled_layer", settled), ("refinement_depth", depth))
        },
        "soft_depth": depth,
        **dict.fromkeys(("own_token_refinement_depth", "own_token_soft_depth", "jsd_settled_layer"), 1),
        "prediction_depth": 5,
        **other,
    }


def nothing_right() -> dict[str, None]:
    """Columns of view token_depths that are null where layer L's top ten lack the answer token."""
    names = (f"{name}{top}" for name in ("refinement_depth", "settled_layer") for top in ("", "_top5", "_top10"))
    return dict.fromkeys((*names, "soft_depth"))


def three_questions() -> pd.DataFrame:
    rows = [
        depth_row("a", 0, 0, 2, 4), depth_row("a", 0, 1, 5, 5), depth_row("a", 1, 0, 1, 6), depth_row("a", 2, 0, 3, 3),
        depth_row("b", 0, 0, None, None), depth_row("b", 1, 0, 2, 5), depth_row("b", 2, 0, 4, 5),
        depth_row("c", 0, 0, 6, 6), depth_row("c", 1, 0, 3, None), depth_row("c", 2, 0, 0, 1),
    ]  # fmt: skip
    return pd.DataFrame(rows)


def cell(table: pd.DataFrame, **where: Any) -> pd.Series:
    if "population" in table:
        where = {"tokens": "all", "population": "each_position"} | where
    found = table
    for column, value in where.items():
        found = found[found[column] == value]
    assert len(found) == 1
    return found.iloc[0]


def test_the_curve_is_the_mean_over_tokens_that_end_right() -> None:
    table = refinement_curve(three_questions(), BOOTSTRAP, PRIMARY)
    first = cell(table, measure="refinement_depth", gold_index=0)
    assert (first["mean"], first["n_tokens"], first["n_questions"]) == ((2 + 0 + 0) / 3, 3, 2)
    middle = cell(table, measure="refinement_depth", gold_index=1)
    assert (middle["mean"], middle["n_tokens"]) == ((5 + 3) / 2, 2)
    assert cell(table, measure="settled_layer", gold_index=2)["mean"] == (3 + 5 + 1) / 3
    assert cell(table, measure="own_token_refinement_depth", gold_index=0)["n_tokens"] == 4
    # In shares of the model's 8 layers.
    assert middle["mean_share"] == 0.5
    assert middle["high_share"] == middle["high"] / 8


def test_models_of_different_depths_have_shares_of_their_own() -> None:
    rows = three_questions()
    table = refinement_curve(pd.concat([rows, rows.assign(model="deep", n_layers=80)]), BOOTSTRAP, PRIMARY)
    shares = {
        model: cell(table, model=model, measure="settled_layer", gold_index=2)["mean_share"] for model in ("m", "deep")
    }
    assert shares == {"m": pytest.approx(3 / 8), "deep": pytest.approx(3 / 80)}


def test_the_curve_has_the_gold_documents_mean_distance_over_contexts() -> None:
    """Of two contexts at place 0, one with two tokens, each counts once; and those whose tokens are wrong count too."""
    rows = three_questions()
    rows.loc[rows["question_id"] == "a", "gold_distance"] += 30
    table = refinement_curve(rows, BOOTSTRAP, PRIMARY)
    for place, mean in ((0, 110.0), (1, 80.0), (2, 50.0)):
        assert set(table.loc[table["gold_index"] == place, "gold_distance"]) == {mean}


def test_intervals_hold_their_means() -> None:
    table = refinement_curve(three_questions(), BOOTSTRAP, PRIMARY)
    assert (table["low"] <= table["mean"]).all()
    assert (table["mean"] <= table["high"]).all()
    assert (table["low"] < table["high"]).any()


def test_accuracies_are_counted_by_token_first_token_and_answer() -> None:
    table = accuracy_curve(three_questions(), BOOTSTRAP)
    assert cell(table, measure="first_token", gold_index=0)["mean"] == pytest.approx(2 / 3)
    assert cell(table, measure="answer_tokens", gold_index=0)["mean"] == pytest.approx(3 / 4)
    assert cell(table, measure="whole_answer", gold_index=0)["mean"] == pytest.approx(2 / 3)
    assert cell(table, measure="whole_answer", gold_index=1)["n_tokens"] == 3


def test_controls_have_rows_of_their_own() -> None:
    control = depth_row("a", 0, 0, 1, 1, condition="closed_book", gold_index=None, relative_position=None)
    table = accuracy_curve(pd.concat([three_questions(), pd.DataFrame([control])]), BOOTSTRAP)
    assert cell(table, measure="first_token", condition="closed_book")["mean"] == 1.0
    assert len(refinement_curve(pd.DataFrame([control]), BOOTSTRAP, PRIMARY)) == 0


def test_nothing_right_gives_no_depth_but_accuracies() -> None:
    rows = three_questions().assign(final_right=False, **nothing_right())
    own = {name for name, measure in MEASURES.items() if measure.target == "own"}
    assert set(refinement_curve(rows, BOOTSTRAP, PRIMARY)["measure"]) == own
    assert (accuracy_curve(rows, BOOTSTRAP)["mean"] == 0).all()


def test_the_bootstrap_resamples_questions_not_tokens() -> None:
    # Two questions of 100 tokens each: resampled tokens would nearly always give a mean near 0.5.
    sums, counts = np.array([[0.0], [100.0]]), np.array([[100.0], [100.0]])
    draws = Bootstrap(resamples=2000, confidence=0.95, seed=0).resampled_means(sums, counts)
    assert set(np.unique(draws)) == {0.0, 0.5, 1.0}
    assert np.mean(draws == 0.5) == pytest.approx(0.5, abs=0.05)


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for study in range(300):
        values = rng.normal(loc=2.0, size=(40, 1))
        interval = Bootstrap(resamples=400, confidence=0.95, seed=study).means(values, np.ones_like(values))
        covered += bool(interval.low[0] <= 2.0 <= interval.high[0])
    assert 0.90 <= covered / 300 <= 0.98


def test_the_interval_is_the_bootstrap_t_of_a_plain_loop() -> None:
    rng = np.random.default_rng(4)
    counts = rng.integers(1, 4, size=(30, 1)).astype(float)
    sums = counts * rng.exponential(3.0, size=(30, 1))

    def error(s: np.ndarray, c: np.ndarray) -> float:
        return float(np.sqrt(((s - c * s.sum() / c.sum()) ** 2).sum()) / c.sum())

    bootstrap = Bootstrap(resamples=999, confidence=0.9, seed=1)
    mean = sums.sum() / counts.sum()
    distances = []
    for times in _weights(30, 999, 1).astype(int):
        s, c = np.repeat(sums[:, 0], times), np.repeat(counts[:, 0], times)
        distances.append((s.sum() / c.sum() - mean) / error(s, c))
    ascending = sorted(distances)
    low = mean - ascending[math.ceil(0.95 * 999) - 1] * error(sums, counts)
    high = mean - ascending[math.ceil(0.05 * 999) - 1] * error(sums, counts)
    found = bootstrap.means(sums, counts)
    np.testing.assert_allclose([found.low[0], found.high[0]], [low, high])
    assert high - mean > mean - low  # skewed to the right, as the values are


def test_an_interval_of_skewed_depths_covers_more_often_than_percentiles() -> None:
    rng = np.random.default_rng(5)
    studentised, percentile = 0, 0
    for study in range(300):
        values = rng.lognormal(sigma=1.2, size=(24, 1))
        bootstrap = Bootstrap(resamples=400, confidence=0.95, seed=study)
        found = bootstrap.means(values, np.ones_like(values))
        (low,), (high,) = bootstrap.interval(bootstrap.resampled_means(values, np.ones_like(values)))
        studentised += bool(found.low[0] <= math.exp(0.72) <= found.high[0])
        percentile += bool(low <= math.exp(0.72) <= high)
    assert percentile / 300 < 0.9
    assert studentised / 300 > percentile / 300 + 0.02


def test_an_end_without_a_limit_is_a_percentile_and_shares_stay_shares() -> None:
    # One of 20 questions is wrong: without it, which is so in 36% of resamples, nothing varies.
    sums = np.array([[0.0], *[[1.0]] * 19])
    found = BOOTSTRAP.means(sums, np.ones_like(sums))
    (low,), (high,) = BOOTSTRAP.interval(BOOTSTRAP.resampled_means(sums, np.ones_like(sums)))
    assert found.low[0] == pytest.approx(low)
    assert found.mean[0] == 0.95
    assert 0.95 < found.high[0] <= high == 1.0
    same = BOOTSTRAP.means(np.full((20, 1), 3.0), np.ones((20, 1)))
    assert (same.low[0], same.high[0]) == (3.0, 3.0)


def test_a_cell_without_observations_is_nan() -> None:
    interval = BOOTSTRAP.means(np.zeros((3, 1)), np.zeros((3, 1)))
    assert all(math.isnan(value[0]) for value in interval)


def test_the_seed_decides_the_resamples() -> None:
    sums, counts = np.arange(20.0).reshape(10, 2), np.ones((10, 2))
    first = BOOTSTRAP.resampled_means(sums, counts)
    _weights.cache_clear()
    np.testing.assert_array_equal(BOOTSTRAP.resampled_means(sums, counts), first)
    assert (replace(BOOTSTRAP, seed=1).resampled_means(sums, counts) != first).any()
