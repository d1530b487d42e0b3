"""The shapes of all curves of a study: for both targets, all tokens and only first ones, both populations."""

from typing import Any

import pandas as pd

from lenscore.analysis.populations import SHAPE_KEYS, selections
from lenscore.analysis.shape.shape_tests import shape_tests
from lenscore.study.analysis import AnalysisSpec

TARGETS = ("refinement_depth", "own_token_refinement_depth")

_VARIANT = ["measure", "tokens", "population"]


def shapes_of_study(depths: pd.DataFrame, settings: AnalysisSpec) -> pd.DataFrame:
    """Test and name the shape of every curve, in every variant of the analysis.

    A variant is a target × tokens × population. Within each, the curves of the study are one family of tests. The
    headline variant is the paper's: refinement depth, all tokens, at each position its own.

    Args:
        depths: rows of view ``token_depths`` with ``n_layers`` (L).
        settings: of the statistics.

    Returns:
        The rows of :func:`lenscore.analysis.shape.shape_tests.shape_tests` with ``measure``, ``tokens`` and
        ``population``.
    """
    parts = []
    for selection, right, chosen in selections(depths):
        for measure in TARGETS:
            rows = chosen if measure == "own_token_refinement_depth" else right
            placed = rows[rows["condition"] == "documents"]
            tested = shape_tests(placed, settings, keys=SHAPE_KEYS, value=measure)
            parts.append(tested.assign(measure=measure, **selection._asdict()))
    table = pd.concat(parts, ignore_index=True)
    return table[[*_VARIANT, *(column for column in table.columns if column not in _VARIANT)]]


def disagreements(shapes: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the curves whose verdict depends on the variant, with the variants of each verdict.

    Returns:
        One dict a curve: its keys, ``smallest_effect`` (layers), and ``verdicts``: a list of ``verdict``, its ``form``
        and ``size``, and ``ways``, its variants (measure, tokens, population). The verdict of the headline variant is
        first.
    """
    found = []
    for names, group in shapes.groupby(SHAPE_KEYS):
        if group["verdict"].nunique() < 2:
            continue
        variants: dict[str, dict[str, Any]] = {}
        for row in group.itertuples():
            of_verdict = {"verdict": row.verdict, "form": row.form, "size": row.size, "ways": []}
            variants.setdefault(str(row.verdict), of_verdict)["ways"].append((row.measure, row.tokens, row.population))
        keys = dict(zip(SHAPE_KEYS, names, strict=True))
        bound = float(group["smallest_effect"].iloc[0])
        found.append({**keys, "smallest_effect": bound, "verdicts": list(variants.values())})
    return found
