"""The verdict on each curve: Holm's correction over the curves of a study, and the rule that names a shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.shape.contrasts import Contrast, contrasts, middle_weights, slope_weights
from lenscore.analysis.shape.curve import Curve
from lenscore.analysis.shape.regressions import Quadratic, quadratic
from lenscore.analysis.shape.two_lines import TwoLines, two_lines

VERDICTS = ("inverted U", "U", "rising", "falling", "flat", "undecided")
_POWER = 0.8


@dataclass(frozen=True)
class CurveTests:
    """All tests of one curve, before correction for the number of curves."""

    middle: Contrast
    slope: Contrast
    quadratic: Quadratic
    two_lines: TwoLines


@dataclass(frozen=True)
class Verdict:
    """What the tests of the study say about the shape of one curve.

    Attributes:
        name: one of ``VERDICTS``.
        reason: why the verdict is undecided; None with any other verdict.
        middle_p: of the contrast of middle and ends. This and the other p-values are after Holm's correction.
        slope_p: of the slope.
        curvature_p: of the quadratic's curvature.
        two_lines_p: of the two lines.
        supporting_tests: for a U or an inverted U, how many of contrast, quadratic (with its vertex inside the range)
            and two lines are significant in its direction after correction; None with any other verdict.
        smallest_middle: the smallest contrast of middle and ends that the study detects with 80% power.
        smallest_middle_corrected: the same at the strictest level that Holm's correction can require, α/curves.
    """

    name: str
    reason: str | None
    middle_p: float
    slope_p: float
    curvature_p: float
    two_lines_p: float
    supporting_tests: int | None
    smallest_middle: float
    smallest_middle_corrected: float


def curve_tests(curve: Curve, bootstrap: Bootstrap, permutations: int) -> CurveTests:
    """Return all tests of a testable curve (:meth:`~lenscore.analysis.shape.curve.Curve.why_untestable`)."""
    weights = np.stack([middle_weights(curve.places), slope_weights(curve.places)])
    middle, slope = contrasts(curve, weights, bootstrap, permutations)
    confidence = bootstrap.confidence
    return CurveTests(middle, slope, quadratic(curve, confidence), two_lines(curve, confidence))


def verdicts(tests: Sequence[CurveTests], *, confidence: float, smallest_effect: float) -> list[Verdict]:
    """Correct the tests of a study's curves and name the shape of each curve.

    Each kind of test is one family over all curves, because each asks one question about the study: does the middle of
    any curve differ from its ends, does any curve tilt, does any bend, does any turn. For each question, Holm's
    correction (1979) keeps the probability of one or more false positives at α = 1 − confidence, whichever curves are
    flat.

    The rule:

    1. A curve is *curved* if the contrast of middle and ends is significant, *tilted* if the slope is (permutation
       tests, Holm's correction).
    2. Curved and not tilted: ``inverted U`` if the contrast is above 0, ``U`` if below.
    3. Tilted and not curved: ``rising`` or ``falling``.
    4. Both: ``inverted U`` or ``U`` by the signs of the two lines, if their test is significant (Holm's correction);
       else ``rising`` or ``falling`` by the slope: the curve bends but is not shown to turn.
    5. Neither: ``flat`` if the intervals of level 1 − 2α of contrast and slope both lie within ± the smallest effect
       (two one-sided tests of equivalence, Schuirmann 1987); else ``undecided``.

    Args:
        tests: of all testable curves of the study.
        confidence: 1 − α.
        smallest_effect: layers; a curve whose intervals are within ± this is flat.
    """
    alpha = 1 - confidence
    middle = holm([test.middle.p for test in tests])
    slope = holm([test.slope.p for test in tests])
    curvature = holm([test.quadratic.curvature.p for test in tests])
    lines = holm([test.two_lines.p for test in tests])
    named = []
    for test, *adjusted in zip(tests, middle, slope, curvature, lines, strict=True):
        middle_p, slope_p, curvature_p, two_lines_p = map(float, adjusted)
        significant = [p <= alpha for p in (middle_p, slope_p, curvature_p, two_lines_p)]
        name = _name(test, significant, smallest_effect)
        error = test.middle.standard_error
        named.append(
            Verdict(
                name=name,
                reason="neither an effect nor its absence is shown" if name == "undecided" else None,
                middle_p=middle_p,
                slope_p=slope_p,
                curvature_p=curvature_p,
                two_lines_p=two_lines_p,
                supporting_tests=_supporting(test, significant, name),
                smallest_middle=smallest_detectable(error, alpha),
                smallest_middle_corrected=smallest_detectable(error, alpha / len(tests)),
            )
        )
    return named


def holm(p_values: Sequence[float]) -> Float[np.ndarray, " tests"]:
    """Return p-values after Holm's correction (1979); NaN is no test and stays NaN."""
    corrected = np.array(p_values, dtype=float)
    known = np.flatnonzero(~np.isnan(corrected))
    ascending = known[corrected[known].argsort()]
    # The smallest is multiplied by the number of tests, the next by one less, and so on; the order is kept.
    scaled = corrected[ascending] * np.arange(len(ascending), 0, -1)
    corrected[ascending] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected


def smallest_detectable(standard_error: float, alpha: float) -> float:
    """Return the smallest effect that a two-sided test of level α detects with 80% power (normal approximation)."""
    quantile = NormalDist().inv_cdf
    return (quantile(1 - alpha / 2) + quantile(_POWER)) * standard_error


def _name(test: CurveTests, significant: Sequence[bool], smallest_effect: float) -> str:
    curved, tilted, _, turned = significant
    if curved and not tilted:
        return _u_shape(test.middle.estimate)
    if tilted:
        if curved and turned and test.two_lines.shape:
            return test.two_lines.shape
        return "rising" if test.slope.estimate > 0 else "falling"
    within = all(
        -smallest_effect < contrast.equivalence_low and contrast.equivalence_high < smallest_effect
        for contrast in (test.middle, test.slope)
    )
    return "flat" if within else "undecided"


def _supporting(test: CurveTests, significant: Sequence[bool], name: str) -> int | None:
    if name not in ("inverted U", "U"):
        return None
    curved, _, bent, turned = significant
    parabola = _u_shape(-test.quadratic.curvature.estimate) if test.quadratic.vertex_inside else None
    shapes = ((curved, _u_shape(test.middle.estimate)), (bent, parabola), (turned, test.two_lines.shape))
    return sum(is_significant and shape == name for is_significant, shape in shapes)


def _u_shape(middle: float) -> str:
    return "inverted U" if middle > 0 else "U"
