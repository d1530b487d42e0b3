"""The shape of every curve of a study: estimates, tests and verdicts, one row a curve."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.shape.contrasts import Contrast
from lenscore.analysis.shape.curve import Curve
from lenscore.analysis.shape.regressions import Coefficient
from lenscore.analysis.shape.verdicts import CurveTests, Verdict, curve_tests, verdicts

_NUMBERS = [
    *("lowest", "lowest_position", "highest", "highest_position"),
    *("middle", "middle_low", "middle_high", "middle_se", "middle_p", "middle_p_holm"),
    *("slope", "slope_low", "slope_high", "slope_se", "slope_p", "slope_p_holm"),
    *("curvature", "curvature_low", "curvature_high", "curvature_se", "curvature_p", "curvature_p_holm"),
    *("linear", "linear_low", "linear_high", "linear_se", "linear_p", "vertex"),
    "break_point",
    *("before", "before_low", "before_high", "before_se", "before_p"),
    *("after", "after_low", "after_high", "after_se", "after_p"),
    *("two_lines_p", "two_lines_p_holm"),
    *("smallest_middle", "smallest_middle_corrected"),
]
_TYPES = {
    "n_questions": "int64",
    "n_tokens": "int64",
    "n_positions": "int64",
    "verdict": "str",
    "reason": "str",
    "supporting_tests": "Int64",
    **dict.fromkeys(_NUMBERS, "float64"),
    "vertex_inside": "boolean",
    "two_lines_shape": "str",
}


def shape_tests(
    tokens: pd.DataFrame,
    bootstrap: Bootstrap,
    *,
    permutations: int,
    smallest_effect: float,
    keys: Sequence[str],
    value: str = "refinement_depth",
) -> pd.DataFrame:
    """Test the shape of every curve and name it.

    Args:
        tokens: a row an answer token, with the keys, ``question_id``, ``relative_position`` and the value's column.
            Rows without a position (controls) or a value are left out.
        bootstrap: gives the intervals; its confidence is 1 − α of the tests.
        permutations: number of permutations of a permutation test.
        smallest_effect: layers; a curve whose intervals are within ± this is flat.
        keys: columns that name a curve. All curves of the call are one family of tests.
        value: the column that the curves average at each position (layers).

    Returns:
        One row a curve, sorted by the keys:

        - the keys; ``n_questions``, ``n_tokens``, ``n_positions`` with observations;
        - ``verdict``, one of :data:`~lenscore.analysis.shape.verdicts.VERDICTS` by the rule of
          :func:`~lenscore.analysis.shape.verdicts.verdicts`; ``reason`` where it is undecided;
          ``supporting_tests`` (0 to 3) where it is a U or an inverted U;
        - ``lowest``, ``highest``: the extreme means of the curve, and their positions;
        - ``middle``: the mean of the inner positions less that of the two ends, with ``_low``, ``_high`` (bootstrap),
          ``_se`` (bootstrap), ``_p`` (permutation), ``_p_holm`` (after Holm's correction over the curves);
        - ``slope``: of a line through the means (layers from first to last position), the same;
        - ``curvature`` and ``linear``: of the quadratic in relative position, centred at mid-range; ``vertex``, and
          ``vertex_inside``: whether it is inside the range;
        - ``break_point``, slopes ``before`` and ``after`` it, ``two_lines_p`` and ``two_lines_shape``;
        - ``smallest_middle``, ``smallest_middle_corrected``: what the study detects with 80% power (layers).

        A curve that cannot be tested has a ``reason`` and no results of tests, and does not count in the correction.
    """
    rows: list[dict[str, Any]] = []
    tests: list[CurveTests] = []
    tested: list[dict[str, Any]] = []
    for names, group in tokens.dropna(subset=["relative_position", value]).groupby(list(keys), dropna=False):
        curve = Curve.from_rows(group, value)
        row = {**dict(zip(keys, names, strict=True)), **_described(curve)}
        rows.append(row)
        reason = curve.why_untestable()
        if reason:
            row |= {"verdict": "undecided", "reason": reason}
        else:
            tests.append(curve_tests(curve, bootstrap, permutations))
            tested.append(row)
    named = verdicts(tests, confidence=bootstrap.confidence, smallest_effect=smallest_effect)
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
        "reason": verdict.reason,
        "supporting_tests": verdict.supporting_tests,
        **_estimate("middle", test.middle),
        "middle_p_holm": verdict.middle_p,
        **_estimate("slope", test.slope),
        "slope_p_holm": verdict.slope_p,
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
        "smallest_middle_corrected": verdict.smallest_middle_corrected,
    }


def _estimate(name: str, found: Contrast | Coefficient) -> dict[str, float]:
    return {
        name: found.estimate,
        f"{name}_low": found.low,
        f"{name}_high": found.high,
        f"{name}_se": found.standard_error,
        f"{name}_p": found.p,
    }
