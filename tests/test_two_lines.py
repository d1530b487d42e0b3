"""The regressions of a curve's shape, against plain linear algebra."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenscore.analysis.shape.curve import Curve
from lenscore.analysis.shape.regressions import quadratic
from lenscore.analysis.shape.two_lines import smooth, two_lines
from tests.test_contrasts import PLACES, uneven_curve


def curve_of(means: list[float], noise: float = 1.0, questions: int = 40, own: float = 0.0, seed: int = 0) -> Curve:
    """Questions with one token a position, equally spaced, whose means over the questions are exact."""
    rng = np.random.default_rng(seed)
    errors = rng.normal(size=(questions, len(means)), scale=noise) if noise else np.zeros((questions, len(means)))
    errors -= errors.mean(axis=0)
    values = np.array(means) + errors + rng.normal(size=(questions, 1), scale=own or 1e-9)
    place = np.tile(np.linspace(0, 1, len(means)), questions)
    return Curve.from_tokens(np.repeat(np.arange(questions), len(means)), place, values.ravel())


def plain_clustered(design: np.ndarray, value: np.ndarray, question: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares and its cluster-robust standard errors, written out."""
    bread = np.linalg.inv(design.T @ design)
    params = bread @ design.T @ value
    residual = value - design @ params
    scores = [design[question == q].T @ residual[question == q] for q in np.unique(question)]
    n, k, g = len(value), design.shape[1], len(scores)
    meat = sum(np.outer(score, score) for score in scores) * g / (g - 1) * (n - 1) / (n - k)
    return params, np.sqrt(np.diag(bread @ meat @ bread))


def test_the_quadratic_is_least_squares_with_clustered_errors() -> None:
    curve = uneven_curve()
    found = quadratic(curve, 0.95)
    x = curve.place - 0.5
    params, errors = plain_clustered(np.column_stack([x**0, x, x**2]), curve.value, curve.question)
    np.testing.assert_allclose([found.linear.estimate, found.curvature.estimate], params[1:])
    np.testing.assert_allclose([found.linear.standard_error, found.curvature.standard_error], errors[1:])
    assert found.vertex == pytest.approx(0.5 - params[1] / (2 * params[2]))


def test_intervals_use_t_with_the_questions_less_one() -> None:
    from scipy.stats import t

    found = quadratic(uneven_curve(questions=25), 0.9).curvature
    assert (found.high - found.estimate) / found.standard_error == pytest.approx(t.ppf(0.95, 24))
    assert found.p == pytest.approx(2 * t.sf(abs(found.z), 24))


@pytest.mark.parametrize(("peak", "inside"), [(0.25, True), (0.6, True), (1.3, False), (-0.1, False)])
def test_the_vertex_is_found_in_and_out_of_range(peak: float, inside: bool) -> None:
    found = quadratic(curve_of([float(-4 * (place - peak) ** 2) for place in PLACES]), 0.95)
    assert found.vertex == pytest.approx(peak)
    assert found.vertex_inside is inside
    assert found.curvature.estimate == pytest.approx(-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_tent_has_two_opposite_lines(sign: int) -> None:
    found = two_lines(curve_of([sign * height for height in (0, 2, 4, 2, 0)], noise=0.5), 0.95)
    assert found.break_point == 0.5
    assert found.before.estimate == pytest.approx(sign * 8)
    assert found.after.estimate == pytest.approx(-sign * 8)
    assert found.shape == ("inverted U" if sign == 1 else "U")
    assert found.p < 1e-6
    assert found.p == max(found.before.p, found.after.p)


@pytest.mark.parametrize("means", [[0, 1, 2, 3, 4], [0, 3, 3.5, 3.8, 4], [4, 2, 1.5, 1, 0]])
def test_lines_of_one_direction_are_no_u(means: list[float]) -> None:
    found = two_lines(curve_of(means, noise=0.2), 0.95)
    assert (found.shape, found.p) == (None, 1.0)


def test_one_weak_line_decides() -> None:
    found = two_lines(curve_of([0, 4, 6, 5.9, 5.95], noise=1.0), 0.95)
    assert found.before.p < 1e-6
    assert found.p == found.after.p > 0.05


@pytest.mark.parametrize("break_point", [0.3, 0.5, 0.6])
def test_slopes_are_those_of_the_interrupted_regressions(break_point: float, monkeypatch: pytest.MonkeyPatch) -> None:
    curve = uneven_curve()
    monkeypatch.setattr("lenscore.analysis.shape.two_lines._flat_region", lambda _: np.full(9, break_point))
    found = two_lines(curve, 0.95)
    x = curve.place - break_point
    one, zero = np.ones_like(x), np.zeros_like(x)
    for low, high, column, slope in (
        (x <= 0, x > 0, 1, found.before),
        (x < 0, x >= 0, 2, found.after),
    ):
        design = np.column_stack([one, np.where(low, x, zero), np.where(high, x, zero), high.astype(float)])
        params, _ = plain_clustered(design, curve.value, curve.question)
        side = low if column == 1 else high
        _, errors = plain_clustered(design[side][:, [0, column]], curve.value[side], curve.question[side])
        assert slope.estimate == pytest.approx(params[column])
        assert slope.standard_error == pytest.approx(errors[1])


def test_few_positions_are_fitted_through_their_means() -> None:
    curve = uneven_curve()
    fitted, errors = smooth(curve)
    np.testing.assert_allclose(fitted, curve.means)
    assert (errors > 0).all()


def test_many_positions_are_smoothed() -> None:
    line = curve_of(np.linspace(2, 5, 12).tolist())
    np.testing.assert_allclose(smooth(line)[0], np.linspace(2, 5, 12))
    rough = curve_of([0.0, 1.0] * 6)
    assert np.ptp(smooth(rough)[0]) < 0.7


def test_what_all_positions_share_is_no_error_of_the_curve() -> None:
    means = [1.0, 2.0, 2.5, 2.0, 1.0]
    alike, apart = curve_of(means, own=0.0), curve_of(means, own=30.0)
    np.testing.assert_allclose(smooth(alike)[1], smooth(apart)[1], rtol=1e-6)


def test_the_break_takes_from_the_stronger_line() -> None:
    # The peak is flat over the three inner positions; falling from it is far steeper than rising to it.
    weak_first = two_lines(curve_of([3.0, 4.0, 4.1, 4.05, -9.0], noise=2.5), 0.95)
    weak_last = two_lines(curve_of([-9.0, 4.05, 4.1, 4.0, 3.0], noise=2.5), 0.95)
    assert weak_first.break_point == 0.75
    assert weak_last.break_point == 0.25


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(3, 12))
def test_mirrored_values_give_mirrored_lines(seed: int, places: int) -> None:
    curve = uneven_curve(seed, questions=30, places=places)
    found = two_lines(curve, 0.95)
    mirrored = two_lines(Curve.from_tokens(curve.question, curve.place, -curve.value), 0.95)
    assert mirrored.break_point == pytest.approx(found.break_point)
    assert mirrored.before.estimate == pytest.approx(-found.before.estimate)
    assert mirrored.p == pytest.approx(found.p)
    assert curve.places[1] <= found.break_point <= curve.places[-2]
    assert (found.shape is None) == (found.before.estimate * found.after.estimate >= 0)
    assert 0 <= found.p <= 1


def test_an_exact_fit_is_no_test() -> None:
    place = np.tile([0, 0.5, 1.0], 12)
    found = two_lines(Curve.from_tokens(np.repeat(np.arange(12), 3), place, place * 2), 0.95)
    assert np.isnan(found.p)
    assert found.before.estimate == pytest.approx(2)
