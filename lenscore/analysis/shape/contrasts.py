"""Contrasts between a curve's positions: intervals by bootstrap, tests by permutation, both over questions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lenscore.analysis.bootstrap import interval_of_draws, resampled_means
from lenscore.analysis.shape.curve import Curve
from lenscore.study.analysis import AnalysisSpec

_CHUNK = 400_000  # cells of permuted studies held at a time, in five arrays of 8 bytes


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of the curve's means.

    Attributes:
        estimate: in the unit of the values.
        low: lower end of its interval.
        high: upper end.
        standard_error: by bootstrap.
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


def middle_weights(places: Float[np.ndarray, " positions"]) -> Float[np.ndarray, " positions"]:
    """Return the weights of: mean of the inner positions less the mean of the two ends."""
    weights = np.full(len(places), 1 / (len(places) - 2))
    weights[[0, -1]] = -1 / 2
    return weights


def slope_weights(places: Float[np.ndarray, " positions"]) -> Float[np.ndarray, " positions"]:
    """Return the weights of the least-squares slope of the means, per unit of relative position."""
    centred = places - places.mean()
    return np.asarray(centred / (centred**2).sum())


def contrasts(
    curve: Curve, weights: Float[np.ndarray, "contrasts positions"], settings: AnalysisSpec
) -> list[Contrast]:
    """Estimate and test contrasts of a curve.

    Intervals are percentile bootstrap intervals over questions, the standard error is the standard deviation of
    the same resamples (Efron & Tibshirani 1993); a resample that leaves a position without tokens has no
    contrast and does not count. The p-value is that of :func:`permutation_p`.

    Args:
        curve: has a token at every position.
        weights: of each contrast; each sums to 0.
        settings: resamples, permutations, confidence, seed.
    """
    draws = resampled_means(curve.sums, curve.counts, resamples=settings.resamples, seed=settings.seed) @ weights.T
    low, high = interval_of_draws(draws, settings.confidence)
    equivalence_low, equivalence_high = interval_of_draws(draws, 2 * settings.confidence - 1)
    columns = (
        weights @ curve.means,
        low,
        high,
        np.ma.masked_invalid(draws).std(axis=0, ddof=1).filled(np.nan),
        permutation_p(curve, weights, permutations=settings.permutations, seed=settings.seed),
        equivalence_low,
        equivalence_high,
    )
    return [Contrast(*map(float, row)) for row in zip(*columns, strict=True)]


def permutation_p(
    curve: Curve, weights: Float[np.ndarray, "contrasts positions"], *, permutations: int, seed: int
) -> Float[np.ndarray, " contrasts"]:
    """Return the two-sided permutation p-value of each contrast.

    Each question's cells (its tokens' sum and number at a position) change places at random, independently of
    other questions'. If the position has no effect these are equally likely studies, and the test is exact: the share
    of studies at least as extreme, the observed one among them (Phipson & Smyth 2010). As verdicts name a direction,
    each has half the level: p is twice the smaller of both tails' shares, which differ as depths are skewed.

    What is compared is the contrast over its standard error, computed anew for every permuted study. That is as exact
    where the position has no effect, and keeps the level, in large studies, also where the curve is flat and only
    the number of right tokens or the spread of depths moves with the position (Janssen 1997; Chung & Romano 2013),
    which the bare contrast does not.

    Args:
        curve: has a token at every position.
        weights: of each contrast; each sums to 0.
        permutations: how many are drawn.
        seed: seeds the draws.
    """
    observed = studentised(curve.sums[np.newaxis], curve.counts[np.newaxis], weights)[0]
    drawn = permuted_statistics(curve, weights, permutations=permutations, seed=seed)
    # Ties are real in whole numbers, and must not hang on rounding; a study with an empty position counts as extreme.
    rounding = 1e-9 * np.where(np.isfinite(observed), np.abs(observed), 0)
    above = ~(drawn < observed - rounding)
    below = ~(drawn > observed + rounding)
    smaller = np.minimum(above.sum(axis=0), below.sum(axis=0))
    return np.asarray(np.minimum(1.0, 2 * (1 + smaller) / (permutations + 1)))


def permuted_statistics(
    curve: Curve, weights: Float[np.ndarray, "contrasts positions"], *, permutations: int, seed: int
) -> Float[np.ndarray, "permutations contrasts"]:
    """Return the contrasts over their standard errors, of studies whose questions' cells changed places."""
    n_questions, n_places = curve.sums.shape
    generator = np.random.default_rng(seed)
    start = np.arange(n_questions * n_places).reshape(1, n_questions, n_places)
    step = max(1, _CHUNK // start.size)
    drawn = []
    for done in range(0, permutations, step):
        order = np.repeat(start, min(step, permutations - done), axis=0)
        generator.permuted(order, axis=2, out=order)
        drawn.append(studentised(curve.sums.ravel()[order], curve.counts.ravel()[order], weights))
    return np.concatenate(drawn)


def studentised(
    sums: Float[np.ndarray, "studies questions positions"],
    counts: Float[np.ndarray, "studies questions positions"],
    weights: Float[np.ndarray, "contrasts positions"],
) -> Float[np.ndarray, "studies contrasts"]:
    """Return each study's contrasts of its means over their standard errors.

    A mean is a ratio of two sums over questions; its standard error comes from the questions' linearised
    contributions (Cochran 1977, §6.3), which keeps what a question's positions have in common. 0 where contrast and
    error are both 0, infinite where the error alone is; NaN where a position has no token.
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
        errors = np.where(errors <= rounding, 0.0, errors)
        return np.where((estimates == 0) & (errors == 0), 0.0, estimates / errors)
