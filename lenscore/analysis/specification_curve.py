"""Every way of asking whether a curve bends or tilts, side by side, and one test over all of them.

After Simonsohn, Simmons & Nelson 2020 (https://doi.org/10.1038/s41562-020-0912-z): what a study finds should not hang
on one of many ways of asking that are all defensible.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from lenscore.analysis.linearised import corrected, student_interval
from lenscore.analysis.measures import MEASURES, TARGETS
from lenscore.analysis.populations import selections
from lenscore.analysis.shape.contrasts import linearised, middle_weights, slope_weights
from lenscore.analysis.shape.joint_test import JointTest, Way, joint_test
from lenscore.analysis.shape.study_shapes import OTHER_MEASURES
from lenscore.study.analysis import AnalysisSpec

_CURVE = ["model", "context_set", "n_documents"]
_CONTRASTS = {"middle_ends": middle_weights, "slope": slope_weights}
# A test over all ways needs no finer p than 1/1000, and each permutation is one of all ways.
_MOST_PERMUTATIONS = 999
_COLUMNS = [
    *_CURVE, "contrast", "place", "lens", "measure", "target", "tokens", "population", "primary", "estimate", "low",
    "high", "n_questions", "n_tokens", "n_ways", "median", "median_p", "n_significant", "n_significant_p",
]  # fmt: skip


def specification_curve(tokens: pd.DataFrame, settings: AnalysisSpec) -> pd.DataFrame:
    """Return what every way of asking says of each contrast of a curve.

    A way is a lens × measure × tokens × population. A way that leaves a position without tokens, or whose values are
    all the same, is left out. Estimates and intervals are those of the table ``shapes``.

    Args:
        tokens: rows of :func:`lenscore.analysis.tokens.answer_tokens`.
        settings: of the statistics.

    Returns:
        One row a model × context set × number of documents × ``contrast`` (``middle_ends``: inner positions less the
        two ends; ``slope``: from first to last position) × way: ``place`` in the order of the estimates (from 0),
        ``estimate``, ``low``, ``high`` (layers), ``n_questions``, ``n_tokens``, ``primary`` (whether it is
        the primary analysis). The same in all rows of a contrast: ``n_ways``; ``median`` of the estimates;
        ``median_p`` and ``n_significant_p`` of the joint permutation test
        (:func:`~lenscore.analysis.shape.joint_test.joint_test`), and ``n_significant``.
    """
    ways = _ways(tokens, settings)
    tables = [
        _of_contrast(dict(zip(_CURVE, names, strict=True)), contrast, group, settings)
        for names, group in (ways.groupby(_CURVE) if len(ways) else ())
        for contrast in _CONTRASTS
    ]
    return pd.concat(tables, ignore_index=True)[_COLUMNS] if tables else pd.DataFrame(columns=_COLUMNS)


def _ways(tokens: pd.DataFrame, settings: AnalysisSpec) -> pd.DataFrame:
    """Return one row a curve × way: its names, and the way itself."""
    primary = settings.primary
    rows: list[dict[str, Any]] = []
    placed = tokens[tokens["condition"] == "documents"]
    grids = {names: _Grid(group) for names, group in placed.groupby(_CURVE)}
    for selection, _, chosen in selections(tokens):
        of_selection = chosen[chosen["condition"] == "documents"]
        for measure in (*TARGETS, *OTHER_MEASURES):
            for (*names, lens), group in MEASURES[measure].counted(of_selection).groupby([*_CURVE, "lens"]):
                way = grids[tuple(names)].way(group, measure)
                if way is None:
                    continue
                named = {"lens": lens, "measure": measure, **selection._asdict()}
                is_primary = named == {key: getattr(primary, key) for key in named}
                target = MEASURES[measure].target
                rows.append({**dict(zip(_CURVE, names, strict=True)), **named, "target": target,
                             "primary": is_primary, "way": way, "places": grids[tuple(names)].places})  # fmt: skip
    return pd.DataFrame(rows)


class _Grid:
    """The questions and places of a curve, the same for all ways of asking about it."""

    def __init__(self, rows: pd.DataFrame):
        self.places = np.sort(rows["relative_position"].unique()).astype(float)
        self._questions = np.sort(rows["question_id"].unique())

    def way(self, rows: pd.DataFrame, measure: str) -> Way | None:
        """Return the way's sums and counts; None where it cannot say anything."""
        shape = (len(self._questions), len(self.places))
        question = np.searchsorted(self._questions, rows["question_id"].to_numpy())
        place = np.searchsorted(self.places, rows["relative_position"].to_numpy(float))
        cell, values = question * shape[1] + place, rows[measure].to_numpy(float)
        counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(float)
        if shape[1] < 3 or not counts.sum(axis=0).all() or np.ptp(values) == 0:
            return None
        return Way(np.bincount(cell, values, minlength=shape[0] * shape[1]).reshape(shape), counts)


def _of_contrast(names: dict[str, Any], contrast: str, group: pd.DataFrame, settings: AnalysisSpec) -> pd.DataFrame:
    places = group["places"].iloc[0]
    weights = _CONTRASTS[contrast](places)
    ways = list(group["way"])
    joint = joint_test(ways, weights, permutations=min(settings.permutations, _MOST_PERMUTATIONS), seed=settings.seed)
    estimated = pd.DataFrame(_estimates(ways, weights, settings.confidence), index=group.index)
    table = pd.concat([group.drop(columns=["way", "places"]), estimated], axis=1).assign(
        **names, contrast=contrast, **_together(joint, estimated)
    )
    ordered = table.sort_values(["estimate", "lens", "measure", "tokens", "population"], kind="stable")
    return ordered.assign(place=range(len(ordered)))


def _estimates(ways: list[Way], weights: np.ndarray, confidence: float) -> Iterator[dict[str, float]]:
    for way in ways:
        n_questions = int((way.counts.sum(axis=1) > 0).sum())
        estimates, errors = linearised(way.sums[np.newaxis], way.counts[np.newaxis], weights[np.newaxis])
        low, high = student_interval(estimates[0], corrected(errors[0], n_questions), n_questions, confidence)
        yield {"estimate": float(estimates[0, 0]), "low": float(low[0]), "high": float(high[0]),
               "n_questions": n_questions, "n_tokens": int(way.counts.sum())}  # fmt: skip


def _together(joint: JointTest, estimated: pd.DataFrame) -> dict[str, Any]:
    return {
        "n_ways": len(estimated),
        "median": float(estimated["estimate"].median()),
        "median_p": joint.median_p,
        "n_significant": joint.n_significant,
        "n_significant_p": joint.n_significant_p,
    }
