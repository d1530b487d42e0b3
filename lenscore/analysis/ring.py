"""A permutation test of two profiles over blocks that leaves neighbouring blocks together."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Int8

from lenscore.analysis.kendall import pair_signs, tau_of_signs

# Values of τ that are equal but for rounding count as equal.
_ROUNDING = 1e-9


def ring_orders(n_blocks: int) -> Int[np.ndarray, "orders blocks"]:
    """Return the orders of blocks laid out in a ring: every start, in either direction. The first is the blocks' own.

    They are a group: the shifts and reflections of a ring. Neighbours stay neighbours in each, but for the one place
    where the ring is cut.
    """
    starts, places = np.arange(max(n_blocks, 1)), np.arange(n_blocks)
    turned = (starts[:, np.newaxis] + places) % n_blocks
    return np.concatenate([turned, turned[:, ::-1]])


class RingP(NamedTuple):
    """p of each pair of profiles: by itself, and corrected over all pairs; NaN where its τ is."""

    alone: Float[np.ndarray, " pairs"]
    corrected: Float[np.ndarray, " pairs"]


def ring_p(observations: Float[np.ndarray, "pairs blocks"], causes: Float[np.ndarray, "pairs blocks"]) -> RingP:
    """Return p of each pair's τ under the orders of a ring, alone and corrected over all pairs.

    The null hypothesis: one profile has no tie to the other, however smooth both are. p is the share of orders of the
    first profile (:func:`ring_orders`, the blocks' own among them) at which |τ-b| is at least what it is in the blocks'
    own order. It is exact where a profile is as probable turned or reflected as it is, and cannot be below one in two
    times the blocks. Shifts of a profile as a test that keeps its smoothness: Harms et al. 2001 (Journal of Ecology 89,
    947–959, "torus translation").

    The correction compares each |τ| with the largest over all pairs at each order, which all pairs share (single-step
    maxT: Westfall & Young 1993, Resampling-Based Multiple Testing).

    Args:
        observations: of each pair, what a lens shows at each block.
        causes: of each pair, what ablating each block costs.
    """
    sizes = np.stack([_sizes(*pair) for pair in zip(observations, causes, strict=True)])
    known = ~np.isnan(sizes[:, 0])
    # An unknown τ never is the largest.
    largest = np.where(np.isnan(sizes), -1, sizes).max(axis=0)

    def share_from(others: Float[np.ndarray, "#pairs orders"]) -> Float[np.ndarray, " pairs"]:
        share = np.mean(others >= sizes[:, :1] - _ROUNDING, axis=1)
        return np.asarray(np.where(known, share, np.nan))

    return RingP(share_from(sizes), share_from(largest[np.newaxis]))


def _sizes(
    observation: Float[np.ndarray, " blocks"], cause: Float[np.ndarray, " blocks"]
) -> Float[np.ndarray, " orders"]:
    """Return |τ| at each order of the ring."""
    orders = ring_orders(len(observation))
    signs = pair_signs(observation[orders])
    of_cause: Int8[np.ndarray, "orders pairs"] = np.broadcast_to(pair_signs(cause[np.newaxis]), signs.shape)
    unknown = np.full(len(orders), np.isnan(observation + cause).any())
    return np.asarray(np.abs(tau_of_signs(signs, of_cause, unknown)))
