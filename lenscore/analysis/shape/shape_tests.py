"""The shape of every curve of a study: estimates, tests and verdicts, one row a curve."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from lenscore.analysis.shape.contrasts import Contrast
from lenscore.analysis.shape.curve import Curve
from lenscore.analysis.shape.curve_tests import CurveTests, curve_tests
from lenscore.analysis.shape.regressions import Coefficient
from lenscore.analysis.shape.verdicts import NO_FORM, Verdict, verdicts
from lenscore.study.analysis import AnalysisSpec

_NUMBERS = [
    "smallest_effect",
    *("lowest", "lowest_position", "highest", "highest_position"),
    *("middle", "middle_low", "middle_high", "middle_se", "middle_p", "middle_p_holm"),
    *("slope", "slope_low", "slope_high", "slope_se", "slope_p", "slope_p_holm"),
    *("first", "first_low", "first_high", "first_se", "first_p", "first_p_holm"),
    *("last", "last_low", "last_high", "last_se", "last_p", "last_p_holm"),
    *("others_middle", "others_middle_low", "others_middle_high", "others_middle_se", "others_middle_p"),
    *("others_slope", "others_slope_low", "others_slope_high", "others_slope_se", "others_slope_p"),
    *("deviation", "deviation_position", "deviation_most"),
    *("curvature", "curvature_low", "curvature_high", "curvature_se", "curvature_p", "curvature_p_holm"),
    *("linear", "linear_low", "linear_high", "linear_se", "linear_p", "vertex"),
    "break_point",
    *("before", "before_low", "before_high", "before_se", "before_p"),
    *("after", "after_low", "after_high", "after_se", "after_p"),
    *("two_lines_p", "two_lines_p_holm"),
    *("smallest_middle", "smallest_middle_alone"),
]
_TYPES = {
    "n_questions": "int64",
    "n_tokens": "int64",
    "n_positions": "int64",
    "verdict": "str",
    "form": "str",
    "size": "str",
    "reason": "str",
    "supporting_tests": "Int64",
    **dict.fromkeys(_NUMBERS, "float64"),
    "vertex_inside": "boolean",
    "two_lines_shape": "str",
}


def shape_tests(
    tokens: pd.DataFrame, settings: AnalysisSpec, *, keys: Sequence[str], value: str = "refinement_depth"
) -> pd.DataFrame:
    """Test the shape of every curve and name it.

    Args:
        tokens: a row an answer token, with the keys, ``question_id``, ``relative_position``, ``n_layers`` (L) and the
            value's column. Rows without a position (controls) or a value are left out.
        settings: confidence (1 − α of the tests), number and seed of the permutations, and the smallest effect.
        keys: columns that name a curve. All curves of the call are one family of tests.
        value: the column that the curves average at each position (layers).

    Returns:
        One row a curve, sorted by the keys:

        - the keys; ``n_questions``, ``n_tokens``, ``n_positions`` with observations;
        - ``verdict``, one of :data:`~lenscore.analysis.shape.verdicts.VERDICTS` by the rule of
          :func:`~lenscore.analysis.shape.verdicts.verdicts`, made of ``form`` and ``size``; ``reason`` where it is
          undecided; ``supporting_tests`` (0 to 3) where it is a U or an inverted U; ``smallest_effect``: the bound that
          ``size`` goes by (layers);
        - ``lowest``, ``highest``: the extreme means of the curve, and their positions;
        - ``middle``: the mean of the inner positions less that of the two ends, with ``_low``, ``_high`` (Student's),
          ``_se`` (linearised), ``_p`` (permutation), ``_p_holm`` (after Holm's correction over the curves);
        - ``slope``: of a line through the means (layers from first to last position), the same;
        - ``first``, ``last``: that position less the mean of all others, the same; ``others_middle``, ``others_slope``:
          of the curve without the end that may be a step, if one may;
        - ``deviation``: of the position that lies furthest from the curve's mean, ``deviation_position``, and
          ``deviation_most``: the limit of how far any lies from it (confidence 1 − α);
        - ``curvature`` and ``linear``: of the quadratic in relative position, centred at mid-range; ``vertex``, and
          ``vertex_inside``: whether it is inside the range;
        - ``break_point``, slopes ``before`` and ``after`` it, ``two_lines_p`` and ``two_lines_shape``;
        - ``smallest_middle``: what the study detects with 80% power after Holm's correction, at its strictest (layers);
          ``smallest_middle_alone``: without the correction.

        A curve that cannot be tested has a ``reason`` and no results of tests, and does not count in the correction.
    """
    rows: list[dict[str, Any]] = []
    tests: list[CurveTests] = []
    tested: list[dict[str, Any]] = []
    bounds: list[float] = []
    for names, group in tokens.dropna(subset=["relative_position", value]).groupby(list(keys), dropna=False):
        curve = Curve.from_rows(group, value)
        bound = settings.smallest_effect.in_layers(int(group["n_layers"].iloc[0]))
        row = {**dict(zip(keys, names, strict=True)), **_described(curve), "smallest_effect": bound}
        rows.append(row)
        reason = curve.why_untestable()
        if reason:
            row |= {"verdict": "undecided", "form": NO_FORM, "size": "open", "reason": reason}
            continue
        tests.append(
            curve_tests(curve, confidence=settings.confidence, permutations=settings.permutations, seed=settings.seed)
        )
        tested.append(row)
        bounds.append(bound)
    named = verdicts(tests, bounds, confidence=settings.confidence)
    for row, test, verdict in zip(tested, tests, named, strict=True):
        row |= _numbers(test, verdict)
    return pd.DataFrame(rows, columns=[*keys, *_TYPES]).astype(_TYPES)


def _described(curve: Curve) -> dict[str, Any]:
    lowest, highest = curve.means.argmin(), curve.means.argmax()
    return {
        "n_questions": len(curve.sums),
        "n_tokens": len(curve.value),
        "n_positions": len(curve.places),
        "lowest": curve.means[lowest],
        "lowest_position": curve.places[lowest],
        "highest": curve.means[highest],
        "highest_position": curve.places[highest],
    }


def _numbers(test: CurveTests, verdict: Verdict) -> dict[str, Any]:
    return {
        "verdict": verdict.name,
        "form": verdict.form,
        "size": verdict.size,
        "reason": verdict.reason,
        "supporting_tests": verdict.supporting_tests,
        **_estimate("middle", test.middle),
        "middle_p_holm": verdict.middle_p,
        **_estimate("slope", test.slope),
        "slope_p_holm": verdict.slope_p,
        **_estimate("first", test.first),
        "first_p_holm": verdict.first_p,
        **_estimate("last", test.last),
        "last_p_holm": verdict.last_p,
        **(_estimate("others_middle", test.others.middle) if test.others else {}),
        **(_estimate("others_slope", test.others.slope) if test.others else {}),
        "deviation": test.deviation.estimate,
        "deviation_position": test.deviation.place,
        "deviation_most": test.deviation.most,
        **_estimate("curvature", test.quadratic.curvature),
        "curvature_p_holm": verdict.curvature_p,
        **_estimate("linear", test.quadratic.linear),
        "vertex": test.quadratic.vertex,
        "vertex_inside": test.quadratic.vertex_inside,
        "break_point": test.two_lines.break_point,
        **_estimate("before", test.two_lines.before),
        **_estimate("after", test.two_lines.after),
        "two_lines_shape": test.two_lines.shape,
        "two_lines_p": test.two_lines.p,
        "two_lines_p_holm": verdict.two_lines_p,
        "smallest_middle": verdict.smallest_middle,
        "smallest_middle_alone": verdict.smallest_middle_alone,
    }


def _estimate(name: str, found: Contrast | Coefficient) -> dict[str, float]:
    return {
        name: found.estimate,
        f"{name}_low": found.low,
        f"{name}_high": found.high,
        f"{name}_se": found.standard_error,
        f"{name}_p": found.p,
    }
