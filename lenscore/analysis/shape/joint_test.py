"""One test over many ways of asking whether a curve bends or tilts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lenscore.analysis.shape.contrasts import studentised

# Of a contrast over its standard error: significant at 5% by the normal approximation. It only says which ways count;
# the level of the joint test comes from the permutations.
_SIGNIFICANT = 1.96
_CHUNK = 200_000  # cells of permuted studies in memory at a time


@dataclass(frozen=True)
class Way:
    """One way of asking: the tokens that it takes, summed by question and place.

    Attributes:
        sums: per question and place, the sum of the values of its tokens. All ways have the same questions and places.
        counts: how many tokens that is.
    """

    sums: Float[np.ndarray, "questions places"]
    counts: Float[np.ndarray, "questions places"]


@dataclass(frozen=True)
class JointTest:
    """What all ways say together of one contrast, and how often chance says as much.

    Attributes:
        statistics: each way's contrast over its standard error.
        median: of these.
        median_p: of its size, two-sided.
        n_significant: how many are beyond ±1.96 in the direction that more of them have.
        n_significant_p: of that number.
    """

    statistics: Float[np.ndarray, " ways"]
    median: float
    median_p: float
    n_significant: int
    n_significant_p: float


def joint_test(
    ways: Sequence[Way], weights: Float[np.ndarray, " places"], *, permutations: int, seed: int
) -> JointTest:
    """Test whether all ways of asking together say more than chance would.

    If the position of the gold document makes no difference, the places of a question can be exchanged; in all ways at
    once, since they look at the same tokens. So a permutation gives the whole set of answers that chance might have
    given, and p is the share of permutations in which the set says as much as the observed one, which is counted among
    them (Simonsohn, Simmons & Nelson 2020, https://doi.org/10.1038/s41562-020-0912-z, inference by permutation; p as in
    Phipson & Smyth 2010).

    Args:
        ways: at least one; each has a token at every place.
        weights: of the contrast; they sum to 0.
        permutations: number of random permutations.
        seed: of the random generator.
    """
    n_questions, n_places = ways[0].sums.shape
    cells = np.arange(n_questions * n_places).reshape(1, n_questions, n_places)
    observed = _statistics(ways, cells, weights)[0]
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // cells.size)
    drawn = []
    for done in range(0, permutations, step):
        order = np.repeat(cells, min(step, permutations - done), axis=0)
        generator.permuted(order, axis=2, out=order)
        drawn.append(_statistics(ways, order, weights))
    permuted = np.concatenate(drawn)
    median, n_significant = float(np.median(observed)), int(_significant_in_one_direction(observed[np.newaxis])[0])
    return JointTest(
        statistics=observed,
        median=median,
        median_p=_share_as_large(np.abs(np.median(permuted, axis=1)), abs(median)),
        n_significant=n_significant,
        n_significant_p=_share_as_large(_significant_in_one_direction(permuted), float(n_significant)),
    )


def _statistics(
    ways: Sequence[Way], order: Int[np.ndarray, "studies questions places"], weights: Float[np.ndarray, " places"]
) -> Float[np.ndarray, "studies ways"]:
    """Return each way's contrast over its standard error, in studies whose cells are in another order."""
    columns = [
        studentised(way.sums.ravel()[order], way.counts.ravel()[order], weights[np.newaxis])[:, 0] for way in ways
    ]
    # A permuted study may leave a place without tokens: then that way says nothing, which is to say 0.
    return np.asarray(np.nan_to_num(np.stack(columns, axis=1), nan=0.0, posinf=np.inf, neginf=-np.inf))


def _significant_in_one_direction(statistics: Float[np.ndarray, "studies ways"]) -> Int[np.ndarray, " studies"]:
    above, below = (statistics > _SIGNIFICANT).sum(axis=1), (statistics < -_SIGNIFICANT).sum(axis=1)
    return np.asarray(np.maximum(above, below))


def _share_as_large(permuted: np.ndarray, observed: float) -> float:
    """Return p: the share of studies, the observed one among them, that are as large; ties do not hang on rounding."""
    rounding = 1e-9 * abs(observed)
    return float((1 + (permuted >= observed - rounding).sum()) / (len(permuted) + 1))
