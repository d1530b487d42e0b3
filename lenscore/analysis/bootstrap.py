"""Percentile bootstrap over questions."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Interval(NamedTuple):
    """Estimates with the ends of their intervals, each an array with one value a cell."""

    mean: Float[np.ndarray, " cells"]
    low: Float[np.ndarray, " cells"]
    high: Float[np.ndarray, " cells"]


@dataclass(frozen=True)
class Bootstrap:
    """The bootstrap of one study: every table resamples the questions with the same settings.

    Questions are resampled, not answer tokens, because the tokens of one question are not independent (Efron &
    Tibshirani 1993, ch. 8).

    Attributes:
        resamples: number of resamples.
        confidence: of the intervals, in (0, 1).
        seed: of the random generator.
    """

    resamples: int
    confidence: float
    seed: int

    def means(
        self, sums: Float[np.ndarray, "questions cells"], counts: Float[np.ndarray, "questions cells"]
    ) -> Interval:
        """Return each cell's mean over all observations with its percentile interval.

        Args:
            sums: per question and cell, the sum of the observations.
            counts: number of observations; 0 where a question has none in a cell.

        Returns:
            Mean and interval of each cell; NaN for a cell without observations.
        """
        with np.errstate(invalid="ignore"):
            mean = sums.sum(axis=0) / counts.sum(axis=0)
        return Interval(mean, *self.interval(self.resampled_means(sums, counts)))

    def resampled_means(
        self, sums: Float[np.ndarray, "questions cells"], counts: Float[np.ndarray, "questions cells"]
    ) -> Float[np.ndarray, "resamples cells"]:
        """Return the mean of each cell in each resample of the questions.

        A resample holds the same questions for all cells, and for any two calls with the same number of questions, so
        differences between cells keep their pairing.

        Args:
            sums: as for :meth:`means`.
            counts: as for :meth:`means`.

        Returns:
            Ratios of resampled sums to resampled counts; NaN where a resample has no observation in a cell.
        """
        weights = _weights(len(sums), self.resamples, self.seed)
        with np.errstate(invalid="ignore"):
            return np.asarray((weights @ sums) / (weights @ counts))

    def interval(
        self, draws: Float[np.ndarray, "resamples cells"]
    ) -> tuple[Float[np.ndarray, " cells"], Float[np.ndarray, " cells"]]:
        """Return the percentile interval of each column of resampled values."""
        return percentile_interval(draws, self.confidence)


def percentile_interval(
    draws: Float[np.ndarray, "resamples cells"], confidence: float
) -> tuple[Float[np.ndarray, " cells"], Float[np.ndarray, " cells"]]:
    """Return the percentile interval of each column, over the resamples that have a value; NaN where none has."""
    tail = (1 - confidence) / 2
    masked = np.ma.masked_invalid(draws)
    low, high = np.full(draws.shape[1], np.nan), np.full(draws.shape[1], np.nan)
    for cell in range(draws.shape[1]):
        values = masked[:, cell].compressed()
        if values.size:
            low[cell], high[cell] = np.quantile(values, [tail, 1 - tail])
    return low, high


@lru_cache(maxsize=8)  # hundreds of tables of a study resample the same questions
def _weights(n_questions: int, resamples: int, seed: int) -> Float[np.ndarray, "resamples questions"]:
    """Return how often each resample holds each question."""
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(n_questions, np.full(n_questions, 1 / n_questions), size=resamples)
    return counts.astype(float)
