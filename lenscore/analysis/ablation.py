"""What ablating a block costs, and whether a lens points at the blocks that cost most."""

import numpy as np
import pandas as pd

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.kendall import pair_signs, tau_of_signs
from lenscore.analysis.means import question_sums, ratios_with_intervals
from lenscore.analysis.pooling import ALL_CONTEXTS, PER_N_DOCUMENTS, PER_POSITION, POSITION, at_pooling_levels
from lenscore.analysis.regions import region_order, with_regions

_GROUP = ["model", "context_set"]
_ABLATION = ["scope", "replacement"]
_DROPS = {"accuracy_drop": "sum_accuracy_drop", "logprob_drop": "sum_logprob_drop"}
_OBSERVATIONS = {"share_first_right": "n_first_right", "share_settled": "n_settled", "mean_rise": "sum_rise"}
_EFFECTS = [
    *_GROUP, *POSITION, "region", *_ABLATION, "block", "accuracy_drop", "accuracy_drop_low", "accuracy_drop_high",
    "logprob_drop", "logprob_drop_low", "logprob_drop_high", "mean_kl", "n_questions", "n_tokens",
]  # fmt: skip
_AGREEMENT = [
    *_GROUP, "lens", *_ABLATION, "observation", "cause", "tau", "low", "high", "n_blocks", "n_questions",
]  # fmt: skip


def block_effects(ablations: pd.DataFrame, bootstrap: Bootstrap, regions: int) -> pd.DataFrame:
    """Return what ablating each block costs, by region of the gold document's position.

    Over all answer tokens of the ablated contexts with documents, whether the intact model gets them right or not,
    because an ablation can also make a token right.

    Args:
        ablations: rows of view ``ablation_sums``.
        bootstrap: gives the intervals.
        regions: number of equal parts of the relative position.

    Returns:
        One row a model × context set × region × scope × replacement × block, with ``accuracy_drop`` (share of
        answer tokens right, intact less ablated) and ``logprob_drop`` (the target's mean log-probability, intact
        less ablated, nats), each with ``_low`` and ``_high``; ``mean_kl`` (KL(intact ‖ ablated), nats),
        ``n_questions`` and ``n_tokens``. The region ``all`` holds every position. These rows are over all contexts;
        further rows are per number of documents (``n_documents``) and per position (``gold_index``).
    """
    by_region = with_regions(ablations, regions)
    if by_region.empty:
        return pd.DataFrame(columns=_EFFECTS)

    def effects(level: list[str]) -> pd.DataFrame:
        keys, cells = [*_GROUP, "region", *_ABLATION], [*level, "block"]
        table = by_region.groupby([*keys, *cells], as_index=False, dropna=False)[["sum_kl", "n_tokens"]].sum()
        # In single precision, as KL is recorded: further digits would be noise.
        table["mean_kl"] = table["sum_kl"].astype("float32") / table["n_tokens"].astype("float32")
        for drop, column in _DROPS.items():
            means = ratios_with_intervals(by_region, column, "n_tokens", keys, cells, bootstrap).drop(columns=column)
            named = means.rename(columns={"ratio": drop, "low": f"{drop}_low", "high": f"{drop}_high"})
            # Both drops are of the same tokens, so n_questions and n_tokens agree too.
            table = table.merge(named, on=[name for name in named if name in table])
        return table

    table = at_pooling_levels(effects, ALL_CONTEXTS, PER_N_DOCUMENTS, PER_POSITION)
    # A single position is in one region, so its row for the region "all" would say the same twice.
    table = table[(table["region"] != "all") | table["gold_index"].isna()]
    ordered = table.assign(_region=region_order(table["region"], regions)).sort_values(
        [*_GROUP, "n_documents", "gold_index", "_region", *_ABLATION, "block"], na_position="first"
    )
    return ordered[_EFFECTS].reset_index(drop=True)


def lens_against_cause(rises: pd.DataFrame, ablations: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return how far the order of blocks by what a lens shows agrees with their order by what ablation costs.

    Kendall's τ-b (:func:`~lenscore.analysis.kendall.kendall_tau`) over blocks 1 … L, of each observation with each
    drop, with a percentile bootstrap interval: a resample of the ablated questions gives new observations and new
    drops of all blocks, and so a new τ. The noise that a resample adds blurs both orders, so intervals are biased
    towards 0.

    Args:
        rises: rows of view ``context_layers`` with their rises (:func:`lenscore.analysis.layers.with_rises`), of the
            ablated contexts.
        ablations: rows of view ``ablation_sums``.
        bootstrap: gives the intervals.

    Returns:
        One row a model × context set × lens × scope × replacement × observation (``share_first_right``,
        ``share_settled``, ``mean_rise``) × cause (``accuracy_drop``, ``logprob_drop``), with ``tau``, ``low``,
        ``high``, ``n_blocks`` and ``n_questions``. τ is NaN where all blocks are tied in one of the two.
    """
    rows = []
    for (model, context_set, lens), observed in rises[rises["layer"] > 0].groupby([*_GROUP, "lens"]):
        group = ablations[(ablations["model"] == model) & (ablations["context_set"] == context_set)]
        for (scope, replacement), ablated in group.groupby(_ABLATION):
            names = {"model": model, "context_set": context_set, "lens": lens}
            names |= {"scope": scope, "replacement": replacement}
            rows += [{**names, **row} for row in _agreements(observed, ablated, bootstrap)]
    return pd.DataFrame(rows, columns=_AGREEMENT)


def _agreements(observed: pd.DataFrame, ablated: pd.DataFrame, bootstrap: Bootstrap) -> list[dict[str, object]]:
    """Return τ of each observation with each drop, for one lens and one scope and replacement."""
    questions = np.sort(ablated["question_id"].unique())
    blocks = np.sort(ablated["block"].unique())
    # A question without tokens that end right has no observations, but counts among the ablated.
    tables = {
        column: observed.pivot_table(index="question_id", columns="layer", values=column, aggfunc="sum")
        .reindex(index=questions, columns=blocks, fill_value=0)
        .to_numpy(float)
        for column in ("n_right", *_OBSERVATIONS.values())
    }
    sides = {name: (tables[column], tables["n_right"]) for name, column in _OBSERVATIONS.items()}
    _, (counts, *drops) = question_sums(ablated, ["n_tokens", *_DROPS.values()], ["block"])
    sides |= {name: (sums, counts) for name, sums in zip(_DROPS, drops, strict=True)}
    signs, unknown = {}, {}
    for name, (sums, counts) in sides.items():
        with np.errstate(invalid="ignore"):
            estimate = sums.sum(axis=0, keepdims=True) / counts.sum(axis=0, keepdims=True)
        # All sides have the same questions, so a resample holds the same ones on every side.
        values = np.concatenate([estimate, bootstrap.resampled_means(sums, counts)])
        signs[name], unknown[name] = pair_signs(values), np.isnan(values).any(axis=1)
    rows: list[dict[str, object]] = []
    for name in _OBSERVATIONS:
        for drop in _DROPS:
            tau, *resampled = tau_of_signs(signs[name], signs[drop], unknown[name] | unknown[drop])
            (low,), (high,) = bootstrap.interval(np.array(resampled)[:, np.newaxis])
            rows.append({"observation": name, "cause": drop, "tau": tau, "low": low, "high": high,
                         "n_blocks": len(blocks), "n_questions": len(questions)})  # fmt: skip
    return rows
