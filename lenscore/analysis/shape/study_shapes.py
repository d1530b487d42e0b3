"""The shapes of all curves of a study: by measure, choice of tokens and population."""

from typing import Any

import pandas as pd

from lenscore.analysis.measures import MEASURES, TARGETS
from lenscore.analysis.populations import SHAPE_KEYS, selections
from lenscore.analysis.shape.shape_tests import shape_tests
from lenscore.study.analysis import AnalysisSpec

OTHER_MEASURES = (
    "refinement_depth_top5", "refinement_depth_top10", "soft_depth", "prediction_depth", "own_token_soft_depth",
    "jsd_settled_layer",
)  # fmt: skip
"""Tested for all tokens only, beside ``TARGETS``: permutation tests take most of the analysis's time."""

_VARIANT = ["measure", "tokens", "population"]


def shapes_of_study(depths: pd.DataFrame, settings: AnalysisSpec) -> pd.DataFrame:
    """Test and name the shape of every curve, in every variant of the analysis.

    A variant is a measure × tokens × population × lens. Within each, the curves of the study (models, context sets,
    numbers of documents) are one family of tests. One variant is the primary analysis, which the study's config names:
    it alone makes the headline, so that its correction is for all that the headline says.

    Args:
        depths: rows of :func:`lenscore.analysis.tokens.answer_tokens`.
        settings: of the statistics.

    Returns:
        The rows of :func:`lenscore.analysis.shape.shape_tests.shape_tests` with ``measure``, ``tokens``,
        ``population`` and ``primary``; the primary variant's rows first.
    """
    parts, primary = [], settings.primary
    for selection, _, chosen in selections(depths):
        is_primary = selection == (primary.tokens, primary.population)
        others = OTHER_MEASURES if selection.tokens == "all" else [primary.measure] if is_primary else []
        for measure in dict.fromkeys([*TARGETS, *others]):
            rows = MEASURES[measure].counted(chosen)
            placed = rows[rows["condition"] == "documents"]
            for lens, of_lens in list(placed.groupby("lens")) or [(primary.lens, placed)]:
                tested = shape_tests(of_lens, settings, keys=SHAPE_KEYS, value=measure)
                is_headline = is_primary and (measure, lens) == (primary.measure, primary.lens)
                parts.append(tested.assign(measure=measure, **selection._asdict(), primary=is_headline))
    table = pd.concat(parts, ignore_index=True).sort_values("primary", ascending=False, kind="stable")
    first = [*_VARIANT, "primary"]
    return table[[*first, *(column for column in table.columns if column not in first)]].reset_index(drop=True)


def disagreements(shapes: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the curves whose verdict depends on target, tokens or population, with the variants of each verdict.

    Returns:
        One dict a curve: its keys, ``smallest_effect`` (layers), and ``verdicts``: a list of ``verdict``, its ``form``
        and ``size``, and ``ways``, its variants (measure: one of ``TARGETS``; tokens, population). The verdict of the
        headline variant is first.
    """
    found = []
    for names, group in shapes[shapes["measure"].isin(TARGETS)].groupby(SHAPE_KEYS):
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
