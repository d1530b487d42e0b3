"""The shapes of all of a study's curves: for both targets, all tokens and first ones, both populations."""

from typing import Any

import pandas as pd

from lenscore.analysis.populations import HEADLINE, selections
from lenscore.analysis.shape.shape_tests import shape_tests
from lenscore.study.analysis import AnalysisSpec

TARGETS = ("refinement_depth", "own_token_refinement_depth")

CURVE = ["model", "context_set", "lens", "n_documents"]
_VARIANT = ["measure", "tokens", "population"]


def shapes_of_study(depths: pd.DataFrame, settings: AnalysisSpec) -> pd.DataFrame:
    """Test and name the shape of every curve, in every way of asking for it.

    Each way (target × tokens × population) looks at the same study from another side; within each, the study's
    curves are one family of tests. The headline is the paper's: refinement depth, all tokens, each position's own.

    Args:
        depths: rows of view ``token_depths``.
        settings: resamples, permutations, confidence, seed, smallest effect.

    Returns:
        The rows of :func:`lenscore.analysis.shape.shape_tests.shape_tests` with ``measure``, ``tokens`` and
        ``population``.
    """
    parts = []
    for selection, right, chosen in selections(depths):
        for measure in TARGETS:
            rows = chosen if measure == "own_token_refinement_depth" else right
            placed = rows[rows["condition"] == "documents"]
            tested = shape_tests(placed, settings, keys=CURVE, value=measure)
            parts.append(tested.assign(measure=measure, **selection._asdict()))
    table = pd.concat(parts, ignore_index=True)
    return table[[*_VARIANT, *(column for column in table.columns if column not in _VARIANT)]]


def headline_of(shapes: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the paper's curve."""
    return shapes[
        (shapes["measure"] == "refinement_depth")
        & (shapes["tokens"] == HEADLINE.tokens)
        & (shapes["population"] == HEADLINE.population)
    ]


def disagreements(shapes: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the curves whose verdict depends on the way of asking, with the ways by verdict.

    Returns:
        One dict a curve: its names, and ``verdicts``: a list of ``verdict`` and ``ways`` (measure, tokens, population),
        the headline's verdict first.
    """
    found = []
    for names, group in shapes.groupby(CURVE):
        if group["verdict"].nunique() < 2:
            continue
        ways: dict[str, list[tuple[str, str, str]]] = {}
        for row in group.itertuples():
            ways.setdefault(str(row.verdict), []).append((str(row.measure), str(row.tokens), str(row.population)))
        verdicts = [{"verdict": verdict, "ways": of_verdict} for verdict, of_verdict in ways.items()]
        found.append({**dict(zip(CURVE, names, strict=True)), "verdicts": verdicts})
    return found
