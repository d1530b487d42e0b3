"""What ablating a block costs, and whether a lens points at the blocks that cost most."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.kendall import kendall_tau, pair_signs, tau_of_signs
from lenscore.analysis.means import question_sums, ratios_with_intervals
from lenscore.analysis.pooling import ALL_CONTEXTS, PER_N_DOCUMENTS, PER_POSITION, POSITION, at_pooling_levels
from lenscore.analysis.regions import region_order, with_regions
from lenscore.analysis.ring import ring_p
from lenscore.analysis.stated import STATED_CAUSE, STATED_OBSERVATIONS

_GROUP = ["model", "context_set"]
_ABLATION = ["scope", "replacement"]
_DROPS = {"accuracy_drop": "sum_accuracy_drop", "logprob_drop": "sum_logprob_drop"}
_OBSERVATIONS = {"share_first_right": "n_first_right", "share_settled": "n_settled", "mean_rise": "sum_rise"}
_EFFECTS = [
    *_GROUP, *POSITION, "region", *_ABLATION, "block", "accuracy_drop", "accuracy_drop_low", "accuracy_drop_high",
    "logprob_drop", "logprob_drop_low", "logprob_drop_high", "mean_kl", "n_questions", "n_tokens",
]  # fmt: skip
_AGREEMENT = [
    *_GROUP, "lens", *_ABLATION, "observation", "cause", "tau", "low", "high", "tau_without_first", "p", "p_corrected",
    "n_blocks", "n_questions",
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
    towards 0. The interval says how sure τ is of these blocks; whether blocks that have nothing to do with one another
    would give such a τ, a permutation test over blocks says (:func:`~lenscore.analysis.ring.ring_p`). The test leaves
    block 1 out.

    Args:
        rises: rows of view ``context_layers`` with their rises (:func:`lenscore.analysis.layers.with_rises`), of the
            ablated contexts.
        ablations: rows of view ``ablation_sums``.
        bootstrap: gives the intervals.

    Returns:
        One row a model × context set × lens × scope × replacement × observation (``share_first_right``,
        ``share_settled``, ``mean_rise``) × cause (``accuracy_drop``, ``logprob_drop``), with ``tau``, ``low``,
        ``high``, ``tau_without_first`` (over blocks 2 … L), its ``p``, and ``p_corrected`` (over all rows of the study
        that are stated on the page; NaN in other rows), ``n_blocks`` and ``n_questions``. τ and p are NaN where all
        blocks are tied in one of the two.
    """
    groups = []
    for (model, context_set), group in ablations.groupby(_GROUP):
        observed = rises[(rises["layer"] > 0) & (rises["model"] == model) & (rises["context_set"] == context_set)]
        rows, observations, causes = [], [], []
        for lens, through_lens in observed.groupby("lens"):
            for (scope, replacement), ablated in group.groupby(_ABLATION):
                names = {"model": model, "context_set": context_set, "lens": lens}
                names |= {"scope": scope, "replacement": replacement}
                for row, observation, cause in _agreements(through_lens, ablated, bootstrap):
                    rows.append({**names, **row})
                    observations.append(observation[1:])
                    causes.append(cause[1:])
        if rows:
            groups.append(_with_p(pd.DataFrame(rows), np.array(observations), np.array(causes)))
    if not groups:
        return pd.DataFrame(columns=_AGREEMENT)
    table = pd.concat(groups, ignore_index=True)
    # Groups have blocks of their own, so no order of a ring is common to them: Bonferroni's correction over groups.
    table["p_corrected"] = (table["p_corrected"] * len(groups)).clip(upper=1)
    return table.sort_values([*_GROUP, "lens", *_ABLATION], kind="stable", ignore_index=True)[_AGREEMENT]


def _with_p(
    rows: pd.DataFrame, observations: Float[np.ndarray, "rows blocks"], causes: Float[np.ndarray, "rows blocks"]
) -> pd.DataFrame:
    """Return the rows of one model and context set with τ, p and corrected p over the blocks that are given."""
    stated = (rows["cause"] == STATED_CAUSE) & rows["observation"].isin(STATED_OBSERVATIONS)
    corrected = np.full(len(rows), np.nan)
    corrected[stated] = ring_p(observations[stated], causes[stated]).corrected
    taus = kendall_tau(observations, causes)
    return rows.assign(tau_without_first=taus, p=ring_p(observations, causes).alone, p_corrected=corrected)


def _agreements(
    observed: pd.DataFrame, ablated: pd.DataFrame, bootstrap: Bootstrap
) -> Iterator[tuple[dict[str, object], Float[np.ndarray, " blocks"], Float[np.ndarray, " blocks"]]]:
    """Yield τ of each observation with each drop, for one lens and one scope and replacement; and the two profiles."""
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
    profiles, signs, unknown = {}, {}, {}
    for name, (sums, counts) in sides.items():
        with np.errstate(invalid="ignore"):
            estimate = sums.sum(axis=0, keepdims=True) / counts.sum(axis=0, keepdims=True)
        # All sides have the same questions, so a resample holds the same ones on every side.
        values = np.concatenate([estimate, bootstrap.resampled_means(sums, counts)])
        profiles[name] = estimate[0]
        signs[name], unknown[name] = pair_signs(values), np.isnan(values).any(axis=1)
    for name in _OBSERVATIONS:
        for drop in _DROPS:
            tau, *resampled = tau_of_signs(signs[name], signs[drop], unknown[name] | unknown[drop])
            (low,), (high,) = bootstrap.interval(np.array(resampled)[:, np.newaxis])
            row = {"observation": name, "cause": drop, "tau": tau, "low": low, "high": high,
                   "n_blocks": len(blocks), "n_questions": len(questions)}  # fmt: skip
            yield row, profiles[name], profiles[drop]
