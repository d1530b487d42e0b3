"""How often intervals hold what they estimate: percentile, bootstrap-t and Student's, for means and contrasts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from benchmarks.shape.simulate import Design
from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.linearised import corrected, student_interval
from lenscore.analysis.shape.contrasts import end_weights, linearised, middle_weights, slope_weights
from lenscore.analysis.shape.curve import Curve

CONFIDENCE = 0.95
RESAMPLES = 400
QUANTITIES = ("mean at the first position", "middle − ends", "slope", "last − others", "third position's deviation")
Intervals = Float[np.ndarray, "quantities methods 2"]
METHODS = ("percentile", "bootstrap-t", "Student's t", "as used")


@dataclass(frozen=True)
class Coverage:
    """What intervals do, each an array of quantities × methods.

    Attributes:
        covered: share of intervals that hold the true value.
        width: the median width, layers.
    """

    covered: Float[np.ndarray, "quantities methods"]
    width: Float[np.ndarray, "quantities methods"]


def weights_of(n_places: int) -> Float[np.ndarray, "quantities positions"]:
    """Return the weights of the quantities."""
    places = np.linspace(0, 1, n_places)
    return np.stack(
        [
            np.eye(n_places)[0],
            middle_weights(places),
            slope_weights(places),
            end_weights(n_places, -1),
            np.eye(n_places)[2] - 1 / n_places,
        ]
    )


def true_values(design: Design) -> Float[np.ndarray, " quantities"]:
    """Return the quantities of the design, from 200,000 simulated questions."""
    large = [replace(design, questions=4000).simulate(np.random.default_rng([seed, 4000])).means for seed in range(50)]
    return np.asarray(weights_of(len(design.effect)) @ np.mean(large, axis=0))


def intervals(design: Design, seed: int) -> Intervals | None:
    """Simulate a study and return the intervals of all quantities; None where a position has no token."""
    curve = design.simulate(np.random.default_rng([seed, design.questions]))
    if len(curve.places) < len(design.effect):
        return None
    weights = weights_of(len(curve.places))
    (estimates,), (errors,) = linearised(curve.sums[np.newaxis], curve.counts[np.newaxis], weights)
    n_questions = len(curve.sums)
    student = student_interval(estimates, corrected(errors, n_questions), n_questions, CONFIDENCE)
    draws, resampled_errors = _resampled(curve, weights, seed)
    percentile = np.nanquantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        distances = np.where(draws == estimates, 0.0, (draws - estimates) / resampled_errors)
        t_low, t_high = np.nanquantile(
            distances, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0, method="inverted_cdf"
        )
        studentised = estimates - t_high * errors, estimates - t_low * errors
    of_mean = Bootstrap(RESAMPLES, CONFIDENCE, seed).means(curve.sums[:, :1], curve.counts[:, :1])
    used = np.array(student)
    used[:, 0] = of_mean.low[0], of_mean.high[0]
    return np.stack([percentile, studentised, student, used], axis=1).transpose(2, 1, 0)


def coverage(found: Sequence[Intervals], truth: Float[np.ndarray, " quantities"]) -> Coverage:
    """Return how often the intervals of many studies hold the truth, and how wide they are."""
    ends = np.stack(found)
    within = (ends[..., 0] <= truth[:, np.newaxis]) & (truth[:, np.newaxis] <= ends[..., 1])
    with np.errstate(invalid="ignore"):
        width = np.where(np.isfinite(ends).all(axis=-1), ends[..., 1] - ends[..., 0], np.inf)
    return Coverage(within.mean(axis=0), np.quantile(width, 0.5, axis=0, method="lower"))


def _resampled(
    curve: Curve, weights: Float[np.ndarray, "quantities positions"], seed: int
) -> tuple[Float[np.ndarray, "resamples quantities"], Float[np.ndarray, "resamples quantities"]]:
    rows = np.random.default_rng([seed, 1]).integers(0, len(curve.sums), size=(RESAMPLES, len(curve.sums)))
    return linearised(curve.sums[rows], curve.counts[rows], weights)
