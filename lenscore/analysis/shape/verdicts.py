"""From tests to words: Holm's correction over a study's curves, and the rule that names a curve's shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float
from statsmodels.stats.multitest import multipletests

from lenscore.analysis.shape.contrasts import Contrast, contrasts, middle_weights, slope_weights
from lenscore.analysis.shape.curve import Curve
from lenscore.analysis.shape.regressions import Quadratic, quadratic
from lenscore.analysis.shape.two_lines import TwoLines, two_lines
from lenscore.study.analysis import AnalysisSpec

VERDICTS = ("inverted U", "U", "rising", "falling", "flat", "undecided")
_POWER = 0.8


@dataclass(frozen=True)
class CurveTests:
    """All tests of one curve, before any correction."""

    middle: Contrast
    slope: Contrast
    quadratic: Quadratic
    two_lines: TwoLines


@dataclass(frozen=True)
class Verdict:
    """What the study's tests say of one curve's shape.

    Attributes:
        words: one of ``VERDICTS``.
        reason: why it is undecided; None with any other verdict.
        middle_p: of the middle against the ends, after Holm's correction, as the following.
        slope_p: of the slope.
        curvature_p: of the quadratic's curvature.
        two_lines_p: of the two lines.
        supporting_tests: with a U or an inverted U, how many of contrast, quadratic (its vertex within the range) and
            two lines are significant in its direction after correction; None with any other verdict.
        smallest_middle: the smallest contrast of middle and ends that the study could have found with 80% power.
        smallest_middle_corrected: the same at the strictest level that Holm's correction may ask for, α/curves.
    """

    words: str
    reason: str | None
    middle_p: float
    slope_p: float
    curvature_p: float
    two_lines_p: float
    supporting_tests: int | None
    smallest_middle: float
    smallest_middle_corrected: float


def curve_tests(curve: Curve, settings: AnalysisSpec) -> CurveTests:
    """Return all tests of a curve that can be tested (:meth:`~lenscore.analysis.shape.curve.Curve.why_untestable`)."""
    weights = np.stack([middle_weights(curve.places), slope_weights(curve.places)])
    middle, slope = contrasts(curve, weights, settings)
    return CurveTests(middle, slope, quadratic(curve, settings.confidence), two_lines(curve, settings.confidence))


def verdicts(tests: Sequence[CurveTests], settings: AnalysisSpec) -> list[Verdict]:
    """Correct the tests of a study's curves and name the curves' shapes.

    Each kind of test is a family of its own over all curves, because each asks one question of the study: does any
    curve's middle differ from its ends, does any tilt, does any bend, does any turn. Holm's correction (1979) keeps
    the probability of a single false yes to each at α = 1 − confidence, whichever curves are flat.

    The rule:

    1. A curve is *curved* if the contrast of middle and ends is significant, *tilted* if the slope is (permutation
       tests, Holm's correction).
    2. Curved and not tilted: ``inverted U`` if the contrast is above 0, ``U`` if below.
    3. Tilted and not curved: ``rising`` or ``falling``.
    4. Both: ``inverted U`` or ``U`` if the two-lines test is significant (Holm's correction), by its signs; else
       ``rising`` or ``falling``, by the slope: a curve that bends and is not shown to turn.
    5. Neither: ``flat`` if the intervals of level 1 − 2α of contrast and slope both lie within ± the smallest effect
       (two one-sided tests of equivalence, Schuirmann 1987); else ``undecided``.
    """
    alpha = 1 - settings.confidence
    middle = holm([test.middle.p for test in tests])
    slope = holm([test.slope.p for test in tests])
    curvature = holm([test.quadratic.curvature.p for test in tests])
    lines = holm([test.two_lines.p for test in tests])
    found = []
    for test, *adjusted in zip(tests, middle, slope, curvature, lines, strict=True):
        middle_p, slope_p, curvature_p, two_lines_p = map(float, adjusted)
        significant = [p <= alpha for p in (middle_p, slope_p, curvature_p, two_lines_p)]
        words = _words(test, significant, settings)
        error = test.middle.standard_error
        found.append(
            Verdict(
                words=words,
                reason="neither an effect nor its absence is shown" if words == "undecided" else None,
                middle_p=middle_p,
                slope_p=slope_p,
                curvature_p=curvature_p,
                two_lines_p=two_lines_p,
                supporting_tests=_supporting(test, significant, words),
                smallest_middle=smallest_detectable(error, alpha),
                smallest_middle_corrected=smallest_detectable(error, alpha / len(tests)),
            )
        )
    return found


def holm(p_values: Sequence[float]) -> Float[np.ndarray, " tests"]:
    """Return p-values after Holm's correction (1979); a NaN is no test and stays one."""
    corrected = np.array(p_values, dtype=float)
    known = ~np.isnan(corrected)
    if known.sum() > 1:
        corrected[known] = multipletests(corrected[known], method="holm")[1]
    return corrected


def smallest_detectable(standard_error: float, alpha: float) -> float:
    """Return the smallest effect that a two-sided test of level α finds with 80% power, by the normal approximation."""
    quantile = NormalDist().inv_cdf
    return (quantile(1 - alpha / 2) + quantile(_POWER)) * standard_error


def _words(test: CurveTests, significant: Sequence[bool], settings: AnalysisSpec) -> str:
    curved, tilted, _, turned = significant
    if curved and not tilted:
        return _bend(test.middle.estimate)
    if tilted:
        if curved and turned and test.two_lines.shape:
            return test.two_lines.shape
        return "rising" if test.slope.estimate > 0 else "falling"
    bound = settings.smallest_effect
    within = all(
        -bound < contrast.equivalence_low and contrast.equivalence_high < bound
        for contrast in (test.middle, test.slope)
    )
    return "flat" if within else "undecided"


def _supporting(test: CurveTests, significant: Sequence[bool], words: str) -> int | None:
    if words not in ("inverted U", "U"):
        return None
    curved, _, bent, turned = significant
    parabola = _bend(-test.quadratic.curvature.estimate) if test.quadratic.vertex_inside else None
    said = ((curved, _bend(test.middle.estimate)), (bent, parabola), (turned, test.two_lines.shape))
    return sum(yes and shape == words for yes, shape in said)


def _bend(middle: float) -> str:
    return "inverted U" if middle > 0 else "U"
