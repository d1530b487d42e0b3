"""Kendall's rank correlation of many pairs of rankings at once."""

import numpy as np
from jaxtyping import Bool, Float, Int8


def kendall_tau(
    first: Float[np.ndarray, "draws items"], second: Float[np.ndarray, "draws items"]
) -> Float[np.ndarray, " draws"]:
    """Return Kendall's τ-b of each row of two arrays.

    τ-b = (concordant pairs − discordant pairs) / √(pairs not tied in the first × pairs not tied in the second)
    (Kendall 1945, "The treatment of ties in ranking problems", Biometrika 33).

    Returns:
        In [−1, 1]; NaN where one side has only ties, or a value is NaN.
    """
    return tau_of_signs(pair_signs(first), pair_signs(second), np.isnan(first + second).any(axis=1))


def pair_signs(values: Float[np.ndarray, "draws items"]) -> Int8[np.ndarray, "draws pairs"]:
    """Return the sign of each pair's difference. As bytes, because a study has millions of pairs."""
    one, other = np.triu_indices(values.shape[1], k=1)
    with np.errstate(invalid="ignore"):
        left, right = values[:, one], values[:, other]
        return (left > right).view(np.int8) - (left < right).view(np.int8)


def tau_of_signs(
    first: Int8[np.ndarray, "draws pairs"], second: Int8[np.ndarray, "draws pairs"], unknown: Bool[np.ndarray, " draws"]
) -> Float[np.ndarray, " draws"]:
    """Return τ-b of each row from the signs of its pairs; NaN where ``unknown``."""
    agreement = (first * second).sum(axis=1, dtype=np.int64)
    untied = np.count_nonzero(first, axis=1) * np.count_nonzero(second, axis=1)
    with np.errstate(invalid="ignore"):
        tau = agreement / np.sqrt(untied)
    tau[unknown] = np.nan
    return np.asarray(tau)
