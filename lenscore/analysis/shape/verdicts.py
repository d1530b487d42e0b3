"""The verdict on each curve: Holm's correction over the curves of a study, and the rule that names a shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from lenscore.analysis.shape.contrasts import Contrast
from lenscore.analysis.shape.curve_tests import CurveTests

U_FORMS = ("inverted U", "U")
TILTED_FORMS = ("rising", "falling")
STEP_FORMS = ("primacy step up", "primacy step down", "recency step up", "recency step down")
FORMS = (*U_FORMS, *TILTED_FORMS, *STEP_FORMS)
NO_FORM = "none shown"

# How large the contrast is that a form rests on, and how a verdict says it.
SIZES = {"beyond": " beyond the bound", "within": " within the bound", "open": ", size open"}
VERDICTS = (*(form + size for form in FORMS for size in SIZES.values()), "flat", "undecided")

_POWER = 0.8


@dataclass(frozen=True)
class Verdict:
    """What the tests of the study say about the shape of one curve.

    Attributes:
        form: one of ``FORMS``, or ``NO_FORM``: does the curve bend or tilt, and how.
        size: one of ``SIZES``: is that by more than the smallest effect. Of a curve without a form, ``within`` if
            it is shown to have none larger than that, else ``open``.
        name: one of ``VERDICTS``: form and size in one.
        reason: why the verdict is undecided; None with any other verdict.
        middle_p: of the contrast of middle and ends. This and the other p-values are after Holm's correction.
        slope_p: of the slope.
        first_p: of the first position against all others.
        last_p: of the last position against all others.
        curvature_p: of the quadratic's curvature.
        two_lines_p: of the two lines.
        supporting_tests: for a U or an inverted U, how many of contrast, quadratic (with its vertex inside the range)
            and two lines are significant in its direction after correction; None with any other form.
        smallest_middle: the smallest contrast of middle and ends that the study detects with 80% power at the strictest
            level that Holm's correction can require, α/curves.
        smallest_middle_alone: the same at level α, as if the curve were the study's only one.
    """

    form: str
    size: str
    name: str
    reason: str | None
    middle_p: float
    slope_p: float
    first_p: float
    last_p: float
    curvature_p: float
    two_lines_p: float
    supporting_tests: int | None
    smallest_middle: float
    smallest_middle_alone: float


def verdicts(tests: Sequence[CurveTests], bounds: Sequence[float], *, confidence: float) -> list[Verdict]:
    """Correct the tests of a study's curves and name the shape of each curve.

    Each kind of test is one family over all curves, because each asks one question about the study: does the middle of
    any curve differ from its ends, does any curve tilt, does the first or last position of any stand out, does any
    bend, does any turn. For each question, Holm's correction (1979) keeps the probability of one or more false
    positives at α = 1 − confidence, whichever curves are flat.

    First the form, by tests:

    1. A curve is *curved* if the contrast of middle and ends is significant, *tilted* if the slope is (permutation
       tests, Holm's correction). One that is neither has no form.
    2. A *step* if one end alone stands out: its contrast with all other positions is significant and, in standard
       errors, the largest of the four contrasts, and the curve without it is level
       (:meth:`~lenscore.analysis.shape.curve_tests.Others.are_level`). ``primacy step`` at the first position,
       ``recency step`` at the last; ``up`` where it lies above the others.
    3. Else, curved and not tilted: ``inverted U`` if the contrast is above 0, ``U`` if below.
    4. Tilted and not curved: ``rising`` or ``falling``.
    5. Both: ``inverted U`` or ``U`` by the signs of the two lines, if their test is significant (Holm's correction);
       else ``rising`` or ``falling`` by the slope: the curve bends but is not shown to turn.

    Then the size of the contrast that the form rests on (of a U, middle and ends; of a tilt, the slope; of a step, the
    end and all others), by its interval: ``beyond`` if the interval of level 1 − α lies beyond the bound, ``within`` if
    that of level 1 − 2α lies within ± the bound (two one-sided tests of equivalence, Schuirmann 1987), else ``open``. A
    curve without a form is ``flat`` if the contrast of middle and ends, the slope and the deviation of every position
    from the curve's mean are all shown to be within; else ``undecided``.

    Args:
        tests: of all testable curves of the study.
        bounds: of each curve, the smallest effect of interest, in layers.
        confidence: 1 − α.
    """
    alpha = 1 - confidence
    p_values = {
        "middle_p": holm([test.middle.p for test in tests]),
        "slope_p": holm([test.slope.p for test in tests]),
        "first_p": holm([test.first.p for test in tests]),
        "last_p": holm([test.last.p for test in tests]),
        "curvature_p": holm([test.quadratic.curvature.p for test in tests]),
        "two_lines_p": holm([test.two_lines.p for test in tests]),
    }
    named = []
    for test, bound, *adjusted in zip(tests, bounds, *p_values.values(), strict=True):
        curved, tilted, first, last, bent, turned = (float(p) <= alpha for p in adjusted)
        end_stands_out = first if test.end is test.first else last
        form = _form(test, curved, tilted, turned, _is_step(test, end_stands_out, alpha, bound))
        size = _size(test, form, bound)
        name = form + SIZES[size] if form in FORMS else "flat" if size == "within" else "undecided"
        named.append(
            Verdict(
                form=form,
                size=size,
                name=name,
                reason="neither a bend or a tilt nor its absence is shown" if name == "undecided" else None,
                **{name_of_p: float(p) for name_of_p, p in zip(p_values, adjusted, strict=True)},
                supporting_tests=_supporting(test, form, curved, bent, turned),
                smallest_middle=smallest_detectable(test.middle.standard_error, alpha / len(tests)),
                smallest_middle_alone=smallest_detectable(test.middle.standard_error, alpha),
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


def _form(test: CurveTests, curved: bool, tilted: bool, turned: bool, step: bool) -> str:
    if not (curved or tilted):
        return NO_FORM
    if step:
        which = "primacy" if test.end is test.first else "recency"
        return f"{which} step {'up' if test.end.estimate > 0 else 'down'}"
    if not tilted:
        return _u_form(test.middle.estimate)
    if curved and turned and test.two_lines.shape:
        return test.two_lines.shape
    return "rising" if test.slope.estimate > 0 else "falling"


def _is_step(test: CurveTests, end_stands_out: bool, alpha: float, bound: float) -> bool:
    if test.others is None or not end_stands_out:
        return False
    return test.others.are_level(alpha, bound, abs(test.end.estimate))


def _size(test: CurveTests, form: str, bound: float) -> str:
    if form == NO_FORM:
        is_flat = test.middle.is_within(bound) and test.slope.is_within(bound) and test.deviation.most < bound
        return "within" if is_flat else "open"
    contrast = _contrast_of(test, form)
    if contrast.is_beyond(bound):
        return "beyond"
    return "within" if contrast.is_within(bound) else "open"


def _contrast_of(test: CurveTests, form: str) -> Contrast:
    """Return the contrast that a form rests on."""
    if form in U_FORMS:
        return test.middle
    return test.slope if form in TILTED_FORMS else test.end


def _supporting(test: CurveTests, form: str, curved: bool, bent: bool, turned: bool) -> int | None:
    if form not in U_FORMS:
        return None
    parabola = _u_form(-test.quadratic.curvature.estimate) if test.quadratic.vertex_inside else None
    shapes = ((curved, _u_form(test.middle.estimate)), (bent, parabola), (turned, test.two_lines.shape))
    return sum(is_significant and shape == form for is_significant, shape in shapes)


def _u_form(middle: float) -> str:
    return "inverted U" if middle > 0 else "U"
