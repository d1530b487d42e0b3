"""The page's sentences on how far the lenses are from their models, and on what trained ones were trained."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from lenscore.report.names import model_name
from lenscore.report.page.sentences import Finding


def about_lenses(divergence: pd.DataFrame, overlap: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return sentences as ``words`` with the model and lens that the page filters by.

    Args:
        divergence: the table ``lens_divergence``.
        overlap: rows of the table ``lens_overlap``.
    """
    found = []
    for (model, lens), rows in divergence.groupby(["model", "lens"]):
        # At layer L every lens is the model.
        inner = rows[rows["layer"] < rows["layer"].max()]
        words = [about_divergence(str(model), str(lens), inner), about_seeds(str(model), str(lens), inner)]
        found += [{"words": sentence, "model": model, "lens": lens} for sentence in words if sentence]
    return found + [{"words": about_overlap(row), "model": row["model"], "lens": row["lens"]} for row in overlap]


def about_divergence(model: str, lens: str, inner: pd.DataFrame) -> str:
    """Return the sentence on a lens at the answers beside held-out documents; nothing where one of them is missing."""
    kl = inner.pivot(index="layer", columns="measured_on", values="kl")
    if not {"answers", "held_out"} <= set(kl):
        return ""
    further = kl["answers"] - kl["held_out"]
    at = further.abs().idxmax()
    row = inner[(inner["measured_on"] == "answers") & (inner["layer"] == at)].iloc[0]
    return (
        f"{model}, {lens} lens: on average over layers 0 to {kl.index.max()} it is {kl['answers'].mean():.2f} nats "
        f"from the model at the study's answers, and {kl['held_out'].mean():.2f} on held-out documents. The two "
        f"differ most at layer {at}: {row['kl']:.2f} ({row['low']:.2f} to {row['high']:.2f}) "
        f"against {kl['held_out'][at]:.2f}."
    )


def about_seeds(model: str, lens: str, inner: pd.DataFrame) -> str:
    """Return the sentence on how far a lens depends on the seed of its training; nothing where it had one seed."""
    spread = inner.dropna(subset="sd_seeds")
    if spread.empty:
        return ""
    largest = spread.loc[spread["sd_seeds"].idxmax()]
    return (
        f"{model}, {lens} lens: over {largest['n_seeds']} trainings with different seeds, the KL of a layer on "
        f"held-out documents has a standard deviation of at most {largest['sd_seeds']:.3f} nats "
        f"(layer {largest['layer']})."
    )


def about_overlap(row: Finding) -> str:
    """Return the sentence on how many of a context set's distractors the lens was trained on."""
    start, lens = f"{model_name(row)}: of {row['n_places']:,} places of distractors, ", f"the {row['lens']} lens"
    others = row["n_stopped_by"] + row["n_measured_on"]
    if not row["n_trained_on"] + others:
        return f"{start}none holds a passage that {lens} was trained, stopped or measured on."
    return (
        f"{start}{_share(row, row['n_trained_on'])} hold a passage that {lens} was trained on, and "
        f"{_share(row, others)} one that said when to stop its training or on which it was measured."
    )


def _share(row: Finding, count: int) -> str:
    return f"{count:,} ({count / row['n_places']:.0%})"
