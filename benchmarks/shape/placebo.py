"""Placebos for "the lens points to the blocks that matter": profiles over blocks that have no tie to one another.

Each simulated study has what a real one of one model states on its page: two observations through two lenses, each
beside the same cost of ablation. All observations are of one kind of profile, the second lens's being the first's with
noise; the cost is another profile of that kind. What is counted is how often the corrected p says that any of them
points to, or away from, the blocks that matter.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from lenscore.analysis.ring import ring_p

ALPHA = 0.05
Profile = Callable[[np.random.Generator, int], Float[np.ndarray, " blocks"]]


def autoregressive(rng: np.random.Generator, n_blocks: int, correlation: float) -> Float[np.ndarray, " blocks"]:
    """A profile in which neighbours correlate by so much, blocks two apart by its square, and so on."""
    values = rng.normal(size=n_blocks)
    for block in range(1, n_blocks):
        values[block] = correlation * values[block - 1] + np.sqrt(1 - correlation**2) * values[block]
    return values


def bumps(rng: np.random.Generator, n_blocks: int, length: float) -> Float[np.ndarray, " blocks"]:
    """A profile without noise, of a Gaussian process with a squared-exponential kernel of this length in blocks."""
    apart = np.subtract.outer(np.arange(n_blocks), np.arange(n_blocks))
    kernel = np.exp(-0.5 * (apart / length) ** 2) + 1e-9 * np.eye(n_blocks)
    return np.asarray(np.linalg.cholesky(kernel) @ rng.normal(size=n_blocks))


def wandering(rng: np.random.Generator, n_blocks: int) -> Float[np.ndarray, " blocks"]:
    """A random walk: a profile with no level to come back to, as one that rises or falls with depth."""
    return rng.normal(size=n_blocks).cumsum()


# Where what neighbours have in common is gone after a few blocks: there the test is to keep its level.
BRIEF: dict[str, Profile] = {
    # Neighbours have nothing in common: labels of blocks that are shuffled.
    "labels shuffled": partial(autoregressive, correlation=0.0),
    "neighbours correlate by 0.5": partial(autoregressive, correlation=0.5),
    "neighbours correlate by 0.8": partial(autoregressive, correlation=0.8),
}
# Where a stack of blocks holds few that are apart from one another, or where profiles drift.
LONG: dict[str, Profile] = {
    "bumps, length 2 blocks": partial(bumps, length=2),
    "bumps, length 4 blocks": partial(bumps, length=4),
    "neighbours correlate by 0.95": partial(autoregressive, correlation=0.95),
    "random walks": wandering,
}


@dataclass(frozen=True)
class Placebo:
    """A kind of simulated study.

    Attributes:
        profile: draws a profile.
        n_blocks: L; block 1 is left out of the test, as in a real study.
        tie: correlation of observation and cost, block by block; 0: a placebo.
    """

    profile: Profile
    n_blocks: int = 30
    tie: float = 0.0


def says_something(placebo: Placebo, seed: int) -> bool:
    """Return whether any sentence of a simulated study says that a lens points to, or away from, what matters."""
    rng = np.random.default_rng([seed, placebo.n_blocks])
    n_blocks = placebo.n_blocks - 1

    def profile() -> Float[np.ndarray, " blocks"]:
        drawn = placebo.profile(rng, n_blocks)
        return np.asarray((drawn - drawn.mean()) / drawn.std())

    cost = profile()
    first = [placebo.tie * cost + np.sqrt(1 - placebo.tie**2) * profile() for _ in range(2)]
    second = [0.8 * shown + 0.6 * profile() for shown in first]
    observations = np.array([*first, *second])
    corrected = ring_p(observations, np.broadcast_to(cost, observations.shape)).corrected
    return bool((corrected <= ALPHA).any())
