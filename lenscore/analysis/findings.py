"""Numbers for the sentences of the report."""

from typing import Any

import pandas as pd

_GROUP = ["model", "context_set", "lens"]


def busiest_layers(essential: pd.DataFrame, count: int = 3) -> list[dict[str, Any]]:
    """Return the layers with the highest value of each observation, for each model × context set × lens.

    Args:
        essential: the table of :func:`lenscore.analysis.layers.essential_layers`.
        count: number of layers.

    Returns:
        One dict a model × context set × lens × ``measure``: ``layers`` and their ``values``, the highest first, and
        ``n_layers`` (L).
    """
    findings = []
    for names, group in essential[(essential["region"] == "all") & essential["n_documents"].isna()].groupby(_GROUP):
        for measure in ("share_first_right", "share_settled", "mean_rise"):
            top = group.nlargest(count, measure)
            findings.append(
                {
                    **dict(zip(_GROUP, names, strict=True)),
                    "measure": measure,
                    "layers": top["layer"].tolist(),
                    "values": top[measure].tolist(),
                    "n_layers": int(group["layer"].max()),
                }
            )
    return findings
