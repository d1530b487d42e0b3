"""The shapes of all curves of a study: by measure, choice of tokens and population."""

from typing import Any

import pandas as pd

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.measures import MEASURES, TARGETS
from lenscore.analysis.populations import SHAPE_KEYS, selections
from lenscore.analysis.shape.shape_tests import shape_tests

OTHER_MEASURES = (
    "refinement_depth_top5", "refinement_depth_top10", "soft_depth", "prediction_depth", "own_token_soft_depth",
    "jsd_settled_layer",
)  # fmt: skip
"""Tested for all tokens only, beside ``TARGETS``: permutation tests take most of the analysis's time."""

_VARIANT = ["measure", "tokens", "population"]


def shapes_of_study(
    depths: pd.DataFrame, bootstrap: Bootstrap, *, permutations: int, smallest_effect: float
) -> pd.DataFrame:
    """Test and name the shape of every curve, in every variant of the analysis.

    A variant is a measure × tokens × population. Within each, the curves of the study are one family of tests. The
    headline variant is the paper's: refinement depth, all tokens, at each position its own.

    Args:
        depths: rows of :func:`lenscore.analysis.tokens.answer_tokens`.
        bootstrap: gives the intervals; its confidence is 1 − α of the tests.
        permutations: number of permutations of a permutation test.
        smallest_effect: layers; a curve whose intervals are within ± this is flat.

    Returns:
        The rows of :func:`lenscore.analysis.shape.shape_tests.shape_tests` with ``measure``, ``tokens`` and
        ``population``.
    """
    parts = []
    for selection, _, chosen in selections(depths):
        for measure in (*TARGETS, *(OTHER_MEASURES if selection.tokens == "all" else ())):
            rows = MEASURES[measure].counted(chosen)
            placed = rows[rows["condition"] == "documents"]
            tested = shape_tests(
                placed,
                bootstrap,
                permutations=permutations,
                smallest_effect=smallest_effect,
                keys=SHAPE_KEYS,
                value=measure,
            )
            parts.append(tested.assign(measure=measure, **selection._asdict()))
    table = pd.concat(parts, ignore_index=True)
    return table[[*_VARIANT, *(column for column in table.columns if column not in _VARIANT)]]


def disagreements(shapes: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the curves whose verdict depends on target, tokens or population, with the variants of each verdict.

    Returns:
        One dict a curve: its keys, and ``verdicts``: a list of ``verdict`` and ``ways``, its variants (measure: one of
        ``TARGETS``; tokens, population). The verdict of the headline variant is first.
    """
    found = []
    for names, group in shapes[shapes["measure"].isin(TARGETS)].groupby(SHAPE_KEYS):
        if group["verdict"].nunique() < 2:
            continue
        variants: dict[str, list[tuple[str, str, str]]] = {}
        for row in group.itertuples():
            variants.setdefault(str(row.verdict), []).append((str(row.measure), str(row.tokens), str(row.population)))
        verdicts = [{"verdict": verdict, "ways": of_verdict} for verdict, of_verdict in variants.items()]
        found.append({**dict(zip(SHAPE_KEYS, names, strict=True)), "verdicts": verdicts})
    return found
