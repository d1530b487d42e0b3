"""Contrasts of a curve against plain loops, all permutations and statsmodels."""

import itertools
import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.regression.linear_model import OLS

from lenscore.analysis.shape import contrasts as module
from lenscore.analysis.shape.contrasts import (
    Contrast,
    contrasts,
    end_weights,
    largest_deviation,
    middle_weights,
    permutation_p,
    slope_weights,
    studentised,
)
from lenscore.analysis.shape.curve import Curve

estimated = partial(contrasts, confidence=0.95, permutations=499, seed=0)
PLACES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])


def uneven_curve(seed: int = 0, questions: int = 25, places: int = 5) -> Curve:
    """Tokens whose number differs from cell to cell, some cells being empty, of questions that differ much."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, size=(questions, places))
    question, place = np.nonzero(counts)
    times = counts[question, place]
    own = rng.normal(scale=5, size=questions)
    value = own[np.repeat(question, times)] + rng.normal(size=times.sum())
    return Curve.from_tokens(np.repeat(question, times), np.repeat(np.linspace(0, 1, places)[place], times), value)


def plain_studentised(sums: np.ndarray, counts: np.ndarray, weights: np.ndarray) -> float:
    means = [sums[:, p].sum() / counts[:, p].sum() for p in range(sums.shape[1])]
    estimate = sum(w * m for w, m in zip(weights, means, strict=True))
    variance = 0.0
    for q in range(len(sums)):
        part = sum(
            weights[p] * (sums[q, p] - counts[q, p] * means[p]) / counts[:, p].sum() for p in range(sums.shape[1])
        )
        variance += part**2
    return float(estimate / math.sqrt(variance))


def test_a_curve_is_summed_by_question_and_position() -> None:
    rows = pd.DataFrame(
        {
            "question_id": ["b", "a", "a", "a", "b", "b", "a"],
            "relative_position": [1.0, 0.0, 0.0, 1.0, 0.0, None, 1.0],
            "depth": [4.0, 1.0, 2.0, 3.0, None, 9.0, None],
        }
    )
    curve = Curve.from_rows(rows, "depth")
    np.testing.assert_array_equal(curve.places, [0, 1])
    np.testing.assert_array_equal(curve.sums, [[3, 3], [0, 4]])
    np.testing.assert_array_equal(curve.counts, [[2, 1], [0, 1]])
    np.testing.assert_array_equal(curve.means, [1.5, 3.5])
    assert len(curve.value) == 4
    assert curve.n_varying_questions == 1


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ([0, 1], "observations at 2 of the positions"),
        ([0.25, 0.5, 1], "no observation at the first position"),
        ([0, 0.25, 0.5], "no observation at the last position"),
        ([0, 0.5, 1.0], None),
    ],
)
def test_a_shape_needs_a_middle_and_both_ends(places: list[float], reason: str | None) -> None:
    question, place = np.repeat(np.arange(12), len(places)), np.tile(np.array(places, dtype=float), 12)
    found = Curve.from_tokens(
        question, place, np.where(place == 0.5, 1 + question % 3, 0).astype(float)
    ).why_untestable()
    assert found is None if reason is None else reason in str(found)


def test_questions_whose_values_do_not_vary_do_not_count() -> None:
    question, place = np.repeat(np.arange(50), 3), np.tile([0, 0.5, 1.0], 50)
    own = (question * 7 % 5).astype(float)
    assert Curve.from_tokens(question, place, np.full(150, 2.0)).why_untestable() == "all values are the same"
    assert "0 questions whose values differ" in str(Curve.from_tokens(question, place, own).why_untestable())
    moved = own + (question < 9) * place
    assert "9 questions whose values differ" in str(Curve.from_tokens(question, place, moved).why_untestable())
    assert Curve.from_tokens(question, place, own + (question < 10) * place).why_untestable() is None


def test_contrasts_by_hand() -> None:
    np.testing.assert_allclose(middle_weights(PLACES), [-1 / 2, 1 / 3, 1 / 3, 1 / 3, -1 / 2])
    np.testing.assert_allclose(slope_weights(np.array([0, 0.5, 1])), [-1, 0, 1])
    # Means 1.5, 4 and 2.5: the tokens count, not the questions.
    curve = Curve.from_tokens(
        np.array([0, 0, 1, 0, 0, 1]), np.array([0, 0, 0, 0.5, 1, 1]), np.array([0, 0, 4.5, 4, 1, 4])
    )
    weights = np.stack([middle_weights(curve.places), slope_weights(curve.places)])
    middle, slope = estimated(curve, weights)
    assert middle.estimate == pytest.approx(4 - 2)
    assert slope.estimate == pytest.approx(1)


@given(st.lists(st.floats(0, 1), max_size=9, unique=True), st.floats(-5, 5), st.floats(-5, 5))
def test_the_slope_is_a_lines_and_the_level_does_not_matter(inner: list[float], level: float, slope: float) -> None:
    places = np.array(sorted({round(place, 3) for place in [*inner, 0.0, 0.5, 1.0]}))
    assert slope_weights(places) @ (level + slope * places) == pytest.approx(slope, abs=1e-9)
    assert middle_weights(places).sum() == pytest.approx(0, abs=1e-12)


def test_an_end_against_all_others_by_hand() -> None:
    np.testing.assert_allclose(end_weights(4, 0), [1, -1 / 3, -1 / 3, -1 / 3])
    np.testing.assert_allclose(end_weights(4, -1), [-1 / 3, -1 / 3, -1 / 3, 1])


def test_the_interval_is_that_of_a_clustered_regression() -> None:
    # Positions dummies and a covariance clustered by question, times n / (n − 1): t with n − 1 degrees of freedom.
    curve = uneven_curve(questions=20)
    dummies = (curve.place[:, np.newaxis] == curve.places).astype(float)
    fit = OLS(curve.value, dummies).fit(
        cov_type="cluster", cov_kwds={"groups": curve.question, "use_correction": False}
    )
    weights = end_weights(5, -1)
    n = len(np.unique(curve.question))
    error = math.sqrt(weights @ fit.cov_params() @ weights * n / (n - 1))
    (found,) = estimated(curve, weights[np.newaxis])
    assert found.standard_error == pytest.approx(error)
    assert n == 20
    assert found.high - found.estimate == pytest.approx(2.093024 * error, rel=1e-5)  # t tables: 19 degrees, 97.5%
    assert found.equivalence_high - found.estimate == pytest.approx(1.729133 * error, rel=1e-5)  # 95%


def test_within_and_beyond_a_bound() -> None:
    one = Contrast(0.4, 0.2, 0.6, 0.1, 0.01, 0.25, 0.55)
    assert one.is_within(0.56)
    assert not one.is_within(0.55)
    assert one.is_beyond(0.19)
    assert not one.is_beyond(0.2)
    assert Contrast(-0.4, -0.6, -0.2, 0.1, 0.01, -0.55, -0.25).is_beyond(0.19)
    assert one.strength == pytest.approx(4.0)


def test_the_position_that_lies_furthest_from_the_mean() -> None:
    # 30 questions with one token at each of three places: means 1, 5.5 and 2.5 (all errors 0); their mean is 3.
    question, place = np.repeat(np.arange(30), 3), np.tile([0, 0.5, 1], 30)
    exact = largest_deviation(Curve.from_tokens(question, place, np.tile([1.0, 5.5, 2.5], 30)), 0.95)
    assert (exact.place, exact.estimate, exact.most) == (0.5, 2.5, 2.5)
    noisy = uneven_curve(questions=40)
    found = largest_deviation(noisy, 0.95)
    ends = []
    for weights in np.eye(5) - 1 / 5:
        (one,) = estimated(noisy, weights[np.newaxis])
        ends += [abs(one.equivalence_low), abs(one.equivalence_high)]
    assert found.most == pytest.approx(max(ends))
    deviations = noisy.means - noisy.means.mean()
    assert found.estimate == pytest.approx(deviations[np.abs(deviations).argmax()])


def test_the_error_is_that_of_the_resampled_contrasts() -> None:
    curve = uneven_curve(questions=80)
    weights = middle_weights(curve.places)
    (found,) = estimated(curve, weights[np.newaxis])
    rng = np.random.default_rng(5)
    drawn = []
    for _ in range(2000):
        rows = rng.integers(0, 80, size=80)
        drawn.append(curve.sums[rows].sum(0) / curve.counts[rows].sum(0) @ weights)
    assert found.standard_error == pytest.approx(np.std(drawn), rel=0.12)
    np.testing.assert_allclose([found.low, found.high], np.quantile(drawn, [0.025, 0.975]), atol=0.3 * np.std(drawn))
    assert found.low < found.equivalence_low < found.equivalence_high < found.high


def test_the_statistic_is_that_of_a_plain_loop() -> None:
    curve = uneven_curve()
    weights = np.stack([middle_weights(curve.places), slope_weights(curve.places)])
    found = studentised(curve.sums[np.newaxis], curve.counts[np.newaxis], weights)[0]
    np.testing.assert_allclose(found, [plain_studentised(curve.sums, curve.counts, one) for one in weights])


def test_the_statistics_error_is_the_clustered_one_of_a_saturated_regression() -> None:
    curve = uneven_curve()
    weights = middle_weights(curve.places)
    dummies = (curve.place[:, np.newaxis] == curve.places).astype(float)
    fit = OLS(curve.value, dummies).fit(
        cov_type="cluster", cov_kwds={"groups": curve.question, "use_correction": False}
    )
    expected = weights @ fit.params / math.sqrt(weights @ fit.cov_params() @ weights)
    found = studentised(curve.sums[np.newaxis], curve.counts[np.newaxis], weights[np.newaxis])
    assert found[0, 0] == pytest.approx(expected)


def test_random_permutations_agree_with_all_of_them() -> None:
    curve = uneven_curve(seed=14, questions=4, places=3)
    assert curve.counts.shape == (4, 3)
    weights = middle_weights(curve.places)
    observed = plain_studentised(curve.sums, curve.counts, weights)
    total, above, below = 0, 0, 0
    for orders in itertools.product(itertools.permutations(range(3)), repeat=4):
        sums = np.stack([curve.sums[q, list(order)] for q, order in enumerate(orders)])
        counts = np.stack([curve.counts[q, list(order)] for q, order in enumerate(orders)])
        empty = bool((counts.sum(0) == 0).any())
        drawn = 0.0 if empty else plain_studentised(sums, counts, weights)
        total += 1
        above += empty or drawn >= observed - 1e-9
        below += empty or drawn <= observed + 1e-9
    expected = min(1.0, 2 * min(above, below) / total)
    assert total == 6**4
    assert 0.05 < expected < 0.95
    found = permutation_p(curve, weights[np.newaxis], permutations=20_000, seed=0)[0]
    assert found == pytest.approx(expected, abs=8 * math.sqrt(0.25 / 20_000))


def test_the_smallest_p_is_two_tails_of_the_permutations_and_the_study() -> None:
    question, place = np.repeat(np.arange(60), 5), np.tile(PLACES, 60)
    value = 10.0 * ((place > 0) & (place < 1)) + np.random.default_rng(0).normal(size=300)
    found = permutation_p(
        Curve.from_tokens(question, place, value), middle_weights(PLACES)[np.newaxis], permutations=99, seed=0
    )
    assert found[0] == 2 / 100


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    curve = uneven_curve()
    weights = middle_weights(curve.places)[np.newaxis]
    whole = permutation_p(curve, weights, permutations=199, seed=4)
    monkeypatch.setattr(module, "_CHUNK", 7 * curve.sums.size)
    assert permutation_p(curve, weights, permutations=199, seed=4) == whole


def test_no_difference_at_all_is_no_evidence() -> None:
    curve = Curve.from_tokens(np.repeat(np.arange(12), 3), np.tile([0, 0.5, 1], 12), np.repeat(np.arange(12.0) / 3, 3))
    (found,) = estimated(curve, middle_weights(curve.places)[np.newaxis])
    assert (found.estimate, found.p) == (pytest.approx(0, abs=1e-12), 1.0)


def test_where_no_position_matters_but_accuracy_does_the_level_is_kept() -> None:
    # Few tokens at the ends: the contrast without its own error would be extreme in 17% of these studies.
    rng = np.random.default_rng(7)
    rejected = 0
    for seed in range(250):
        right = rng.random((40, 5)) < np.array([0.25, 0.9, 0.95, 0.9, 0.25])
        question, place = np.nonzero(right)
        value = rng.normal(size=40)[question] + rng.normal(size=len(place), scale=2)
        curve = Curve.from_tokens(question, PLACES[place], value)
        rejected += permutation_p(curve, middle_weights(PLACES)[np.newaxis], permutations=99, seed=seed)[0] <= 0.05
    assert 0.02 < rejected / 250 < 0.09


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.1, 50))
def test_units_sign_and_level_do_not_change_p(seed: int, unit: float) -> None:
    curve = uneven_curve(seed)
    weights = np.stack([middle_weights(curve.places), slope_weights(curve.places)])
    other = Curve.from_tokens(curve.question, curve.place, 3 - unit * curve.value)
    p, q = (permutation_p(one, weights, permutations=99, seed=seed) for one in (curve, other))
    np.testing.assert_allclose(p, q, atol=0.021)  # rounding may decide one tie
    np.testing.assert_allclose(weights @ other.means, -unit * (weights @ curve.means), rtol=1e-9, atol=1e-9)
    assert ((p >= 2 / 100) & (p <= 1)).all()
