"""The numbers that the report puts into words."""

from typing import Any

import pandas as pd

_GROUP = ["model", "context_set", "lens"]


def busiest_layers(essential: pd.DataFrame, count: int = 3) -> list[dict[str, Any]]:
    """Return, for each model × context set × lens, the layers that do most by each observation.

    Args:
        essential: the table of :func:`lenscore.analysis.layers.essential_layers`.
        count: how many layers to name.
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
