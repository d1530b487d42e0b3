"""The bootstrap over questions: studentised intervals of means, percentile intervals of all else."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lenscore.analysis.linearised import own_range, ratio_errors


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
        """Return each cell's mean over all observations with its studentised bootstrap interval.

        The bootstrap-t (Efron & Tibshirani 1993, §12.5): in each resample the mean's distance from the observed one is
        divided by the resample's own linearised error, and the quantiles of that, times the observed error, give the
        ends. For means of skewed depths it covers more often than percentile intervals (docs/shape-tests.md).

        - An end is that of the percentile interval where the quantile is infinite: so many resamples then hold no
          spread at all that the data say nothing about it.
        - The interval holds the mean, and does not leave the range of the questions' own means.

        Args:
            sums: per question and cell, the sum of the observations.
            counts: number of observations; 0 where a question has none in a cell.

        Returns:
            Mean and interval of each cell; NaN for a cell without observations.
        """
        with np.errstate(invalid="ignore"):
            mean = sums.sum(axis=0) / counts.sum(axis=0)
        errors = ratio_errors(sums, counts)
        t_low, t_high = _quantiles(self._distances(sums, counts, mean), self.confidence)
        with np.errstate(invalid="ignore"):
            low, high = mean - t_high * errors, mean - t_low * errors
        endless = ~(np.isfinite(low) & np.isfinite(high)) & np.isfinite(mean)
        if endless.any():
            other_low, other_high = self.interval(self.resampled_means(sums[:, endless], counts[:, endless]))
            low[endless] = np.where(np.isfinite(low[endless]), low[endless], other_low)
            high[endless] = np.where(np.isfinite(high[endless]), high[endless], other_high)
        lowest, highest = own_range(sums, counts)
        return Interval(mean, np.minimum(np.maximum(low, lowest), mean), np.maximum(np.minimum(high, highest), mean))

    def _distances(
        self,
        sums: Float[np.ndarray, "questions cells"],
        counts: Float[np.ndarray, "questions cells"],
        mean: Float[np.ndarray, " cells"],
    ) -> Float[np.ndarray, "resamples cells"]:
        """Return the resampled means' distances from the observed ones, over the resamples' linearised errors."""
        weights = _weights(len(sums), self.resamples, self.seed)
        with np.errstate(invalid="ignore", divide="ignore"):
            totals = weights @ counts
            draws = (weights @ sums) / totals
            squares = weights @ sums**2
            spread = squares - 2 * draws * (weights @ (sums * counts)) + draws**2 * (weights @ counts**2)
            # Differences of large sums: what is left of a spread of 0 is rounding.
            spread = np.where(spread <= 1e-12 * squares, 0.0, spread)
            distances = np.where(np.abs(draws - mean) <= 1e-12 * np.abs(mean), 0.0, draws - mean)
            return np.where((distances == 0) & (spread == 0), 0.0, distances / (np.sqrt(spread) / totals))

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


def _quantiles(
    draws: Float[np.ndarray, "resamples cells"], confidence: float
) -> tuple[Float[np.ndarray, " cells"], Float[np.ndarray, " cells"]]:
    """Return the two quantiles of each column that leave out equal tails, each of them a draw; they may be infinite."""
    ascending = np.sort(draws, axis=0)  # NaN, which is no draw, comes last
    known = np.count_nonzero(~np.isnan(draws), axis=0)
    tail = (1 - confidence) / 2
    ends = []
    for share in (tail, 1 - tail):
        place = np.clip(np.ceil(share * known).astype(int) - 1, 0, None)
        ends.append(np.where(known > 0, np.take_along_axis(ascending, place[np.newaxis], axis=0)[0], np.nan))
    return ends[0], ends[1]


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
