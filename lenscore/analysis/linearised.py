"""Linearised standard errors of ratios of sums over questions, and Student's intervals from them."""

import numpy as np
from jaxtyping import Float, Int
from scipy import stats


def ratio_errors(
    sums: Float[np.ndarray, "questions cells"], counts: Float[np.ndarray, "questions cells"]
) -> Float[np.ndarray, " cells"]:
    """Return the standard error of each cell's mean, the ratio of two sums over questions.

    A question contributes (its sum − its count × the mean) / the total count (Cochran 1977, §6.3): tokens of one
    question need not be independent.

    Args:
        sums: per question and cell, the sum of the observations.
        counts: number of observations; 0 where a question has none in a cell.

    Returns:
        The errors, in the unit of the observations; NaN for a cell without observations.
    """
    totals = counts.sum(axis=0)
    with np.errstate(invalid="ignore"):
        parts = sums - counts * (sums.sum(axis=0) / totals)
        return np.asarray(np.sqrt((parts**2).sum(axis=0)) / totals)


def student_interval(
    estimates: Float[np.ndarray, " cells"],
    errors: Float[np.ndarray, " cells"],
    n_questions: int | Int[np.ndarray, " cells"],
    confidence: float,
) -> tuple[Float[np.ndarray, " cells"], Float[np.ndarray, " cells"]]:
    """Return the interval of each estimate from its corrected error and Student's t.

    Args:
        estimates: the estimates.
        errors: their errors after :func:`corrected`.
        n_questions: how many questions each is made of; the degrees of freedom are one less.
        confidence: of the interval, in (0, 1).

    Returns:
        The lower and the upper ends; NaN where there are fewer than two questions.
    """
    freedom = np.where(np.asarray(n_questions) > 1, np.asarray(n_questions) - 1.0, np.nan)
    half = stats.t.ppf((1 + confidence) / 2, freedom) * errors
    return np.asarray(estimates - half), np.asarray(estimates + half)


def own_range(
    sums: Float[np.ndarray, "questions cells"], counts: Float[np.ndarray, "questions cells"]
) -> tuple[Float[np.ndarray, " cells"], Float[np.ndarray, " cells"]]:
    """Return the lowest and the highest of the questions' own means in each cell; ±∞ for a cell without observations.

    Intervals are kept within it: of a share, within 0 and 1; of a depth, from 0 on.
    """
    seen = counts > 0
    own = np.divide(sums, counts, out=np.zeros(sums.shape), where=seen)
    return np.where(seen, own, np.inf).min(axis=0), np.where(seen, own, -np.inf).max(axis=0)


def corrected(
    errors: Float[np.ndarray, " cells"], n_questions: int | Int[np.ndarray, " cells"]
) -> Float[np.ndarray, " cells"]:
    """Return linearised errors times √(n / (n − 1)), the correction for few clusters (Cameron & Miller 2015)."""
    n = np.asarray(n_questions, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(n > 1, errors * np.sqrt(n / (n - 1)), np.nan))
