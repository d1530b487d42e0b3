"""Contrasts between the positions of a curve: Student's intervals and permutation tests, both over questions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lenscore.analysis.linearised import corrected, student_interval
from lenscore.analysis.shape.curve import Curve

_CHUNK = 400_000  # cells of permuted studies in memory at a time, in five arrays of 8 bytes a cell


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of the curve's means.

    Attributes:
        estimate: in the unit of the values.
        low: lower end of its interval.
        high: upper end.
        standard_error: linearised, corrected for few questions.
        p: of the two-sided permutation test.
        equivalence_low: lower end of the interval of level 1 − 2α, for two one-sided tests of equivalence.
        equivalence_high: upper end.
    """

    estimate: float
    low: float
    high: float
    standard_error: float
    p: float
    equivalence_low: float
    equivalence_high: float

    @property
    def strength(self) -> float:
        """The estimate over its standard error, without sign; 0 where both are 0."""
        if self.estimate == 0:
            return 0.0
        return abs(self.estimate) / self.standard_error if self.standard_error else np.inf

    def is_within(self, bound: float) -> bool:
        """Whether it is shown to lie within ± the bound: two one-sided tests of equivalence (Schuirmann 1987)."""
        return -bound < self.equivalence_low and self.equivalence_high < bound

    def is_beyond(self, bound: float) -> bool:
        """Whether its interval lies wholly beyond the bound, on either side."""
        return self.low > bound or self.high < -bound


@dataclass(frozen=True)
class Deviation:
    """The position that lies furthest from the curve's mean.

    Attributes:
        place: its relative position.
        estimate: its mean less the mean of all positions' means.
        most: upper limit, of confidence 1 − α, of how far any position lies from that mean.
    """

    place: float
    estimate: float
    most: float


def middle_weights(places: Float[np.ndarray, " positions"]) -> Float[np.ndarray, " positions"]:
    """Return the weights of: mean of the inner positions less the mean of the two ends."""
    weights = np.full(len(places), 1 / (len(places) - 2))
    weights[[0, -1]] = -1 / 2
    return weights


def slope_weights(places: Float[np.ndarray, " positions"]) -> Float[np.ndarray, " positions"]:
    """Return the weights of the least-squares slope of the means, per unit of relative position."""
    centred = places - places.mean()
    return np.asarray(centred / (centred**2).sum())


def end_weights(n_places: int, end: int) -> Float[np.ndarray, " positions"]:
    """Return the weights of: the mean at one end (0 the first, −1 the last) less the mean of all other positions."""
    weights = np.full(n_places, -1 / (n_places - 1))
    weights[end] = 1
    return weights


def contrasts(
    curve: Curve,
    weights: Float[np.ndarray, "contrasts positions"],
    *,
    confidence: float,
    permutations: int,
    seed: int,
) -> list[Contrast]:
    """Estimate and test contrasts of a curve.

    The standard error is the linearised one (:func:`linearised`), which the test uses too; intervals are Student's,
    with (questions − 1) degrees of freedom, chosen by their coverage (docs/shape-tests.md). The p-value is that of
    :func:`permutation_p`.

    Args:
        curve: has a token at every position.
        weights: of each contrast; each sums to 0.
        confidence: of the intervals, 1 − α.
        permutations: number of permutations of the test.
        seed: of the permutations.
    """
    estimates, errors, n_questions = _estimated(curve, weights)
    low, high = student_interval(estimates, errors, n_questions, confidence)
    equivalence_low, equivalence_high = student_interval(estimates, errors, n_questions, 2 * confidence - 1)
    p = permutation_p(curve, weights, permutations=permutations, seed=seed)
    columns = (estimates, low, high, errors, p, equivalence_low, equivalence_high)
    return [Contrast(*map(float, row)) for row in zip(*columns, strict=True)]


def largest_deviation(curve: Curve, confidence: float) -> Deviation:
    """Return which position lies furthest from the curve's mean, and how far any may lie.

    The limit is the furthest end of all positions' intervals of level 1 − 2α. It is below a bound exactly where two
    one-sided tests show every single position to be within it. This intersection-union test needs no correction for the
    number of positions (Berger 1982); it is conservative.
    """
    n_places = len(curve.places)
    weights = np.eye(n_places) - 1 / n_places
    estimates, errors, n_questions = _estimated(curve, weights)
    ends = student_interval(estimates, errors, n_questions, 2 * confidence - 1)
    furthest = np.abs(estimates).argmax()
    return Deviation(float(curve.places[furthest]), float(estimates[furthest]), float(np.abs(ends).max()))


def _estimated(
    curve: Curve, weights: Float[np.ndarray, "contrasts positions"]
) -> tuple[Float[np.ndarray, " contrasts"], Float[np.ndarray, " contrasts"], int]:
    """Return the contrasts, their corrected standard errors, and the number of questions."""
    estimates, errors = linearised(curve.sums[np.newaxis], curve.counts[np.newaxis], weights)
    return estimates[0], corrected(errors[0], len(curve.sums)), len(curve.sums)


def permutation_p(
    curve: Curve, weights: Float[np.ndarray, "contrasts positions"], *, permutations: int, seed: int
) -> Float[np.ndarray, " contrasts"]:
    """Return the two-sided permutation p-value of each contrast.

    The cells of each question (sum and number of its tokens at a position) are permuted over positions,
    independently of other questions. If the position has no effect, all permuted studies are equally likely and the
    test is exact: p is the share of studies at least as extreme as the observed one, which is counted among them
    (Phipson & Smyth 2010). Because verdicts name a direction, each tail gets half the level: p is twice the smaller
    share of the two tails, which differ because depths are skewed.

    The test statistic is the contrast over its standard error, recomputed for every permuted study. The test is then
    exact where the position has no effect. In large studies it also keeps its level where the curve is flat but the
    number of right tokens or the spread of depths depends on the position (Janssen 1997; Chung & Romano 2013); a test
    of the contrast alone does not.

    Args:
        curve: has a token at every position.
        weights: of each contrast; each sums to 0.
        permutations: number of random permutations.
        seed: of the random generator.
    """
    observed = studentised(curve.sums[np.newaxis], curve.counts[np.newaxis], weights)[0]
    permuted = permuted_statistics(curve, weights, permutations=permutations, seed=seed)
    # Depths are whole numbers, so ties occur and must not depend on rounding. A study with an empty position (NaN)
    # counts as extreme in both directions.
    rounding = 1e-9 * np.where(np.isfinite(observed), np.abs(observed), 0)
    above = ~(permuted < observed - rounding)
    below = ~(permuted > observed + rounding)
    smaller = np.minimum(above.sum(axis=0), below.sum(axis=0))
    return np.asarray(np.minimum(1.0, 2 * (1 + smaller) / (permutations + 1)))


def permuted_statistics(
    curve: Curve, weights: Float[np.ndarray, "contrasts positions"], *, permutations: int, seed: int
) -> Float[np.ndarray, "permutations contrasts"]:
    """Return the contrasts over their standard errors of studies whose cells are permuted within each question."""
    n_questions, n_places = curve.sums.shape
    generator = np.random.default_rng(seed)
    start = np.arange(n_questions * n_places).reshape(1, n_questions, n_places)
    step = max(1, _CHUNK // start.size)
    permuted = []
    for done in range(0, permutations, step):
        order = np.repeat(start, min(step, permutations - done), axis=0)
        generator.permuted(order, axis=2, out=order)
        permuted.append(studentised(curve.sums.ravel()[order], curve.counts.ravel()[order], weights))
    return np.concatenate(permuted)


def studentised(
    sums: Float[np.ndarray, "studies questions positions"],
    counts: Float[np.ndarray, "studies questions positions"],
    weights: Float[np.ndarray, "contrasts positions"],
) -> Float[np.ndarray, "studies contrasts"]:
    """Return each study's contrasts of its means over their standard errors.

    Returns:
        0 where contrast and error are both 0, infinite where only the error is; NaN where a position has no token.
    """
    estimates, errors = linearised(sums, counts, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((estimates == 0) & (errors == 0), 0.0, estimates / errors)


def linearised(
    sums: Float[np.ndarray, "studies questions positions"],
    counts: Float[np.ndarray, "studies questions positions"],
    weights: Float[np.ndarray, "contrasts positions"],
) -> tuple[Float[np.ndarray, "studies contrasts"], Float[np.ndarray, "studies contrasts"]]:
    """Return each study's contrasts of its means, and their standard errors.

    A mean is a ratio of two sums over questions. Its standard error comes from the questions' linearised contributions
    (Cochran 1977, §6.3), which respects the correlation of a question's positions. What is of the size of rounding
    is 0; NaN where a position has no token.
    """
    totals = counts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums.sum(axis=1) / totals
        scaled = weights / totals[:, np.newaxis]  # studies × contrasts × positions
        parts = sums @ scaled.swapaxes(1, 2) - counts @ (scaled * means[:, np.newaxis]).swapaxes(1, 2)
        estimates = means @ weights.T
        errors = np.sqrt((parts**2).sum(axis=1))
        rounding = 1e-12 * np.abs(means).max(axis=1, keepdims=True)
        estimates = np.where(np.abs(estimates) <= rounding, 0.0, estimates)
        return estimates, np.where(errors <= rounding, 0.0, errors)
