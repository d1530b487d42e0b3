"""What ablating a block costs, and whether a lens points at the blocks that cost most."""

import numpy as np
import pandas as pd
from jaxtyping import Float, Int8

from lenscore.analysis.bootstrap import interval_of_draws, resampled_means
from lenscore.analysis.layers import region_names, with_regions
from lenscore.analysis.means import (
    ALL,
    BY_LENGTH,
    BY_PLACE,
    PLACE,
    at_each_join,
    means_with_intervals,
    question_cells,
)
from lenscore.study.analysis import AnalysisSpec

_GROUP = ["model", "context_set"]
_ABLATION = ["scope", "replacement"]
_DROPS = ("accuracy_drop", "logprob_drop")
_OBSERVATIONS = {"share_first_right": "n_first_right", "share_settled": "n_settled", "mean_rise": "sum_rise"}
_EFFECTS = [
    *_GROUP, *PLACE, "region", *_ABLATION, "block", "accuracy_drop", "accuracy_drop_low", "accuracy_drop_high",
    "logprob_drop", "logprob_drop_low", "logprob_drop_high", "mean_kl", "n_questions", "n_tokens",
]  # fmt: skip
_AGREEMENT = [
    *_GROUP, "lens", *_ABLATION, "observation", "cause", "tau", "low", "high", "n_blocks", "n_questions",
]  # fmt: skip


def block_effects(drops: pd.DataFrame, settings: AnalysisSpec) -> pd.DataFrame:
    """Return what ablating each block costs, by region of the gold document's position.

    Over all answer tokens of the ablated contexts with documents, whether the intact model gets them right or not: an
    ablation may make a token right, too.

    Args:
        drops: rows of view ``ablation_drops``: one an answer token × scope × replacement × block.
        settings: regions, and the bootstrap over questions.

    Returns:
        One row a model × context set × region × scope × replacement × block, with ``accuracy_drop`` (share of
        answer tokens right, intact less ablated) and ``logprob_drop`` (the target's mean log-probability, intact
        less ablated, nats), each with ``_low`` and ``_high``; ``mean_kl`` (KL(intact ‖ ablated), nats),
        ``n_questions`` and ``n_tokens``. The region ``all`` holds every position. These are over all contexts; the
        same follows for each number of documents (``n_documents``), and for each place (``gold_index``).
    """
    both = with_regions(_with_drops(drops), settings.regions)
    if both.empty:
        return pd.DataFrame(columns=_EFFECTS)
    table = at_each_join(lambda join: _effects(both, join, settings), ALL, BY_LENGTH, BY_PLACE)
    # A place lies in one region alone: all positions are no region of its.
    table = table[(table["region"] != "all") | table["gold_index"].isna()]
    order = table["region"].map(["all", *region_names(settings.regions)].index)
    ordered = table.assign(_order=order).sort_values(
        [*_GROUP, "n_documents", "gold_index", "_order", *_ABLATION, "block"], na_position="first"
    )
    return ordered[_EFFECTS].reset_index(drop=True)


def _effects(tokens: pd.DataFrame, join: list[str], settings: AnalysisSpec) -> pd.DataFrame:
    """Return the drops of each block by the given columns of a place."""
    keys = [*_GROUP, *join, "region", *_ABLATION]
    table = tokens.groupby([*keys, "block"], as_index=False, dropna=False).agg(mean_kl=("kl_from_intact", "mean"))
    for drop in _DROPS:
        means = means_with_intervals(tokens, drop, [*_GROUP, "region", *_ABLATION], [*join, "block"], settings).rename(
            columns={"mean": drop, "low": f"{drop}_low", "high": f"{drop}_high"}
        )
        # Both drops are of the same tokens, so their counts are the same.
        table = table.merge(means.drop(columns="measure"), on=[c for c in means if c in table])
    return table


def lens_against_cause(rises: pd.DataFrame, drops: pd.DataFrame, settings: AnalysisSpec) -> pd.DataFrame:
    """Return how far the order of blocks by what a lens shows agrees with their order by what ablation costs.

    Kendall's τ-b (:func:`kendall_tau`) over blocks 1 … L, of each observation with each drop, with a percentile
    bootstrap interval: a resample of the ablated questions gives the observations and the drops of all blocks anew,
    and so a τ. What a resample adds in noise blurs both orders, so that intervals lie towards 0.

    Args:
        rises: rows of view ``context_layers`` with their rises (:func:`lenscore.analysis.layers.with_rises`), of the
            ablated contexts.
        drops: rows of view ``ablation_drops``.
        settings: the bootstrap over questions.

    Returns:
        One row a model × context set × lens × scope × replacement × observation (``share_first_right``,
        ``share_settled``, ``mean_rise``) × cause (``accuracy_drop``, ``logprob_drop``), with ``tau``, ``low``,
        ``high``, ``n_blocks`` and ``n_questions``. τ is NaN where all blocks are alike by one of the two.
    """
    tokens = _with_drops(drops)
    rows = []
    for (model, context_set, lens), seen in rises[rises["layer"] > 0].groupby([*_GROUP, "lens"]):
        group = tokens[(tokens["model"] == model) & (tokens["context_set"] == context_set)]
        for (scope, replacement), ablated in group.groupby(_ABLATION):
            names = {**dict(zip(_GROUP, (model, context_set), strict=True)), "lens": lens}
            names |= {"scope": scope, "replacement": replacement}
            rows += [{**names, **row} for row in _agreements(seen, ablated, settings)]
    return pd.DataFrame(rows, columns=_AGREEMENT)


def kendall_tau(
    first: Float[np.ndarray, "draws items"], second: Float[np.ndarray, "draws items"]
) -> Float[np.ndarray, " draws"]:
    """Return Kendall's τ-b of each row of two tables.

    τ-b = (concordant pairs − discordant pairs) / √(pairs not tied in the first × pairs not tied in the second)
    (Kendall 1945, "The treatment of ties in ranking problems", Biometrika 33).

    Returns:
        In [−1, 1]; NaN where all pairs of one side are tied, or a value is NaN.
    """
    return _tau_of_signs(_pair_signs(first), _pair_signs(second), np.isnan(first + second).any(axis=1))


def _pair_signs(values: Float[np.ndarray, "draws items"]) -> Int8[np.ndarray, "draws pairs"]:
    """Return the sign of each pair's difference, as bytes: a study has millions of them."""
    one, other = np.triu_indices(values.shape[1], k=1)
    with np.errstate(invalid="ignore"):
        left, right = values[:, one], values[:, other]
        return (left > right).view(np.int8) - (left < right).view(np.int8)


def _tau_of_signs(
    first: Int8[np.ndarray, "draws pairs"], second: Int8[np.ndarray, "draws pairs"], unknown: np.ndarray
) -> Float[np.ndarray, " draws"]:
    agreement = (first * second).sum(axis=1, dtype=np.int64)
    untied = np.count_nonzero(first, axis=1) * np.count_nonzero(second, axis=1)
    with np.errstate(invalid="ignore"):
        tau = agreement / np.sqrt(untied)
    tau[unknown] = np.nan
    return np.asarray(tau)


def _with_drops(drops: pd.DataFrame) -> pd.DataFrame:
    """Return the tokens of contexts with documents, with what each loses."""
    tokens = drops[drops["condition"] == "documents"]
    return tokens.assign(
        accuracy_drop=tokens["intact_right"].astype(float) - tokens["ablated_right"].astype(float),
        logprob_drop=tokens["intact_logprob"].astype(float) - tokens["ablated_logprob"].astype(float),
    )


def _agreements(seen: pd.DataFrame, ablated: pd.DataFrame, settings: AnalysisSpec) -> list[dict[str, object]]:
    """Return τ of each observation with each drop, for one lens and one way of ablating."""
    questions = np.sort(ablated["question_id"].unique())
    blocks = np.sort(ablated["block"].unique())
    # A question none of whose tokens ends right has no observations, but counts among the ablated.
    tables = {
        column: seen.pivot_table(index="question_id", columns="layer", values=column, aggfunc="sum")
        .reindex(index=questions, columns=blocks, fill_value=0)
        .to_numpy(float)
        for column in ("n_right", *_OBSERVATIONS.values())
    }
    sides = {name: (tables[column], tables["n_right"]) for name, column in _OBSERVATIONS.items()}
    for drop in _DROPS:
        _, sums, counts = question_cells(ablated, drop, ["block"])
        sides[drop] = (sums, counts)
    signs, unknown = {}, {}
    for name, (sums, counts) in sides.items():
        with np.errstate(invalid="ignore"):
            whole = sums.sum(axis=0, keepdims=True) / counts.sum(axis=0, keepdims=True)
        # One seed and one number of questions: a resample draws the same questions on every side.
        draws = resampled_means(sums, counts, resamples=settings.resamples, seed=settings.seed)
        both = np.concatenate([whole, draws])
        signs[name], unknown[name] = _pair_signs(both), np.isnan(both).any(axis=1)
    rows: list[dict[str, object]] = []
    for name in _OBSERVATIONS:
        for drop in _DROPS:
            taus = _tau_of_signs(signs[name], signs[drop], unknown[name] | unknown[drop])
            (low,), (high,) = interval_of_draws(taus[1:, None], settings.confidence)
            rows.append({"observation": name, "cause": drop, "tau": taus[0], "low": low, "high": high,
                         "n_blocks": len(blocks), "n_questions": len(questions)})  # fmt: skip
    return rows
