"""Differences between positions, split into how deep the same tokens lie and which tokens are right."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.means import question_sums
from lenscore.analysis.measures import MEASURES
from lenscore.analysis.populations import SHAPE_KEYS, TOKEN_KEYS

CONTRASTS = ("middle_ends", "last_first")
_PARTS = ("difference", "within", "composition")


def depth_decomposition(tokens: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Split each difference between positions into a part within the same tokens and a part by composition.

    A contrast of a curve is Σ c_p · M_p over its positions, where Σ c_p = 0 and M_p is the mean over the tokens that
    count at p. Stayers are the tokens that count at every position with c_p ≠ 0, and S_p is their mean at p. Then

        Σ c_p · M_p = Σ c_p · S_p + Σ c_p · (M_p − S_p).

    The first sum is *within* the same tokens. The second is *composition*: at each position, how far the tokens that
    count there but not everywhere move the mean away from the stayers'. It is exact, and with two positions that of
    Melitz & Polanec (2015: survivors, entrants and exits), with equal weights; Kitagawa (1955) first split a difference
    of means into rates and composition.

    Args:
        tokens: rows of :func:`lenscore.analysis.tokens.answer_tokens`; contexts with documents count.
        bootstrap: gives the intervals, in which all three have the same resamples.

    Returns:
        One row a model × context set × lens × number of documents × ``measure`` of the answer's token × ``contrast``:
        ``middle_ends`` (mean of the inner positions' means less the mean of the two ends'; from three positions on) and
        ``last_first`` (the last position's mean less the first's; from two on). ``difference``, ``within``
        and ``composition``, each with ``_low`` and ``_high`` (layers); ``n_tokens`` (observations), ``n_stayers``
        (tokens) and ``n_questions``. Without stayers the parts are NaN.
    """
    placed = tokens[tokens["condition"] == "documents"]
    rows = []
    for names, curve in placed.groupby(SHAPE_KEYS):
        places = np.sort(curve["gold_index"].unique())
        for contrast, weights in _contrasts(len(places)).items():
            needed = curve[curve["gold_index"].isin(places[weights != 0])]
            for measure in MEASURES.values():
                if measure.counts_where is not None:
                    counted = measure.counted(needed)
                    if counted["gold_index"].nunique() == np.count_nonzero(weights):
                        found = _parts(counted, measure.name, weights[weights != 0], bootstrap)
                        rows.append({**dict(zip(SHAPE_KEYS, names, strict=True)),
                                     "measure": measure.name, "contrast": contrast, **found})  # fmt: skip
    estimates = [f"{part}{end}" for part in _PARTS for end in ("", "_low", "_high")]
    columns = [*SHAPE_KEYS, "measure", "contrast", *estimates, "n_tokens", "n_stayers", "n_questions"]
    # The columns of an empty table have no numeric types.
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(estimates, float))


def _contrasts(n_places: int) -> dict[str, Float[np.ndarray, " positions"]]:
    """Return the weights of the contrasts that a curve of so many positions has."""
    found = {}
    if n_places > 2:
        found["middle_ends"] = np.array([-1 / 2, *[1 / (n_places - 2)] * (n_places - 2), -1 / 2])
    if n_places > 1:
        found["last_first"] = np.array([-1.0, *[0.0] * (n_places - 2), 1.0])
    return found


def _parts(
    counted: pd.DataFrame, measure: str, weights: Float[np.ndarray, " positions"], bootstrap: Bootstrap
) -> dict[str, float | int]:
    stays = counted.groupby(TOKEN_KEYS)["gold_index"].transform("nunique") == len(weights)
    value = counted[measure].astype(float)
    summed = counted.assign(value=value, n=1.0, value_stayers=value.where(stays, 0.0), n_stayers=stays.astype(float))
    _, (sums, counts, sums_stayers, counts_stayers) = question_sums(
        summed, ["value", "n", "value_stayers", "n_stayers"], ["gold_index"]
    )
    found: dict[str, float | int] = {}
    both = np.concatenate([sums, sums_stayers], axis=1), np.concatenate([counts, counts_stayers], axis=1)
    with np.errstate(invalid="ignore"):
        estimates = _split((both[0].sum(axis=0) / both[1].sum(axis=0))[np.newaxis], weights)[0]
    draws = _split(bootstrap.resampled_means(*both), weights)
    for part, estimate, low, high in zip(_PARTS, estimates, *bootstrap.interval(draws), strict=True):
        found |= {part: float(estimate), f"{part}_low": float(low), f"{part}_high": float(high)}
    return found | {
        "n_tokens": len(counted),
        "n_stayers": int(stays.sum()) // len(weights),
        "n_questions": counted["question_id"].nunique(),
    }


def _split(
    means: Float[np.ndarray, "draws all_and_stayers"], weights: Float[np.ndarray, " positions"]
) -> Float[np.ndarray, "draws 3"]:
    """Return difference, within and composition, from the means of all tokens and of the stayers by position."""
    of_all, of_stayers = np.split(means, 2, axis=1)
    return np.stack([of_all @ weights, of_stayers @ weights, (of_all - of_stayers) @ weights], axis=1)
