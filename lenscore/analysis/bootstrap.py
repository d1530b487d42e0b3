"""Bootstrap intervals over questions."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Interval(NamedTuple):
    """Estimates with the ends of their intervals, each an array of one value a cell."""

    mean: Float[np.ndarray, " cells"]
    low: Float[np.ndarray, " cells"]
    high: Float[np.ndarray, " cells"]


def resampled_means(
    sums: Float[np.ndarray, "questions cells"],
    counts: Float[np.ndarray, "questions cells"],
    *,
    resamples: int,
    seed: int,
) -> Float[np.ndarray, "resamples cells"]:
    """Return the mean of each cell in each resample of the questions.

    The questions are the units that are drawn with replacement (Efron & Tibshirani 1993, ch. 8: answer
    tokens of one question are not independent), and a resample draws the same questions for all
    cells, so that differences between cells keep their pairing.

    Args:
        sums: per question and cell, the sum of the observations.
        counts: how many observations that is; 0 where a question has none in a cell.
        resamples: number of resamples.
        seed: seeds the draws.

    Returns:
        Ratios of resampled sums to resampled counts; NaN where a resample has no observation in a cell.
    """
    weights = _weights(len(sums), resamples, seed)
    with np.errstate(invalid="ignore"):
        return np.asarray((weights @ sums) / (weights @ counts))


@lru_cache(maxsize=8)  # a study draws the same questions for hundreds of tables
def _weights(n_questions: int, resamples: int, seed: int) -> Float[np.ndarray, "resamples questions"]:
    """Return how often each resample holds each question."""
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(n_questions, np.full(n_questions, 1 / n_questions), size=resamples)
    return drawn.astype(float)


def percentile_interval(
    sums: Float[np.ndarray, "questions cells"],
    counts: Float[np.ndarray, "questions cells"],
    *,
    resamples: int,
    confidence: float,
    seed: int,
) -> Interval:
    """Return each cell's mean over all observations with its percentile bootstrap interval.

    A cell without observations has NaN throughout.
    """
    with np.errstate(invalid="ignore"):
        mean = sums.sum(axis=0) / counts.sum(axis=0)
    draws = resampled_means(sums, counts, resamples=resamples, seed=seed)
    low, high = interval_of_draws(draws, confidence)
    return Interval(mean, low, high)


def interval_of_draws(
    draws: Float[np.ndarray, "resamples cells"], confidence: float
) -> tuple[Float[np.ndarray, " cells"], Float[np.ndarray, " cells"]]:
    """Return the percentile interval of each column, over the resamples that have a value."""
    tail = (1 - confidence) / 2
    masked = np.ma.masked_invalid(draws)
    low, high = np.full(draws.shape[1], np.nan), np.full(draws.shape[1], np.nan)
    for cell in range(draws.shape[1]):
        values = masked[:, cell].compressed()
        if values.size:
            low[cell], high[cell] = np.quantile(values, [tail, 1 - tail])
    return low, high
