"""The numbers that the report puts into words."""

from typing import Any

import numpy as np
import pandas as pd

from lenscore.analysis.bootstrap import interval_of_draws, resampled_means
from lenscore.analysis.means import question_cells
from lenscore.study import AnalysisSpec

_GROUP = ["model", "context_set", "lens", "n_documents"]


def middle_against_ends(depths: pd.DataFrame, settings: AnalysisSpec) -> list[dict[str, Any]]:
    """Compare the refinement depth of the middle positions with that of the two ends.

    For each model × context set × lens × number of documents: the mean of the curve over the positions
    between first and last, less the mean of its two ends, with a bootstrap interval paired by
    question. Above zero is the direction of an inverted U; it is no test of the whole shape.

    Args:
        depths: rows of view ``token_depths``.
        settings: resamples, confidence, seed.

    Returns:
        One dict a curve that has at least three positions, both ends among them, with
        observations at each.
    """
    right = depths[(depths["condition"] == "documents") & depths["final_right"]]
    findings = []
    for names, group in right.groupby(_GROUP):
        index, sums, counts = question_cells(group, "refinement_depth", ["relative_position"])
        places = index.get_level_values(0).to_numpy(float)
        order = np.argsort(places)
        places, sums, counts = places[order], sums[:, order], counts[:, order]
        if len(places) < 3 or places[0] != 0 or places[-1] != 1:
            continue
        weights = np.full(len(places), 1 / (len(places) - 2))
        weights[[0, -1]] = -1 / 2
        means = sums.sum(axis=0) / counts.sum(axis=0)
        draws = resampled_means(sums, counts, resamples=settings.resamples, seed=settings.seed) @ weights
        low, high = interval_of_draws(draws[:, np.newaxis], settings.confidence)
        findings.append(
            {
                **dict(zip(_GROUP, names, strict=True)),
                "n_questions": len(sums),
                "n_right": int(counts.sum()),
                "lowest": {"relative_position": float(places[means.argmin()]), "mean": float(means.min())},
                "highest": {"relative_position": float(places[means.argmax()]), "mean": float(means.max())},
                "contrast": float(means @ weights),
                "low": float(low[0]),
                "high": float(high[0]),
            }
        )
    return findings


def busiest_layers(essential: pd.DataFrame, count: int = 3) -> list[dict[str, Any]]:
    """Return, for each model × context set × lens, the layers that do most by each observation.

    Args:
        essential: the table of :func:`lenscore.analysis.layers.essential_layers`.
        count: how many layers to name.
    """
    findings = []
    for names, group in essential[essential["region"] == "all"].groupby(_GROUP[:3]):
        for measure in ("share_first_right", "share_settled", "mean_rise"):
            top = group.nlargest(count, measure)
            findings.append(
                {
                    **dict(zip(_GROUP[:3], names, strict=True)),
                    "measure": measure,
                    "layers": top["layer"].tolist(),
                    "values": top[measure].tolist(),
                    "n_layers": int(group["layer"].max()),
                }
            )
    return findings
