"""All tests of one curve, before any correction for the number of curves."""

from dataclasses import dataclass

import numpy as np

from lenscore.analysis.shape.contrasts import (
    Contrast,
    Deviation,
    contrasts,
    end_weights,
    largest_deviation,
    middle_weights,
    slope_weights,
)
from lenscore.analysis.shape.curve import Curve
from lenscore.analysis.shape.regressions import Quadratic, quadratic
from lenscore.analysis.shape.two_lines import TwoLines, two_lines

# Without its end, a curve must still have a middle: two places cannot show whether they are level.
_FEWEST_PLACES_OF_A_STEP = 4


@dataclass(frozen=True)
class Others:
    """The curve without the end that may stand out alone.

    Attributes:
        middle: its contrast of middle and ends.
        slope: of a line through its means.
    """

    middle: Contrast
    slope: Contrast

    def are_level(self, alpha: float, bound: float, height: float) -> bool:
        """Whether these places are level beside an end that stands out by ``height`` (layers).

        Bend and tilt are shown to be smaller than the height, and no test shows them, or they are shown to be within
        the bound. Without the first, weak studies would call lines and Us steps, because they show nothing.
        """
        return all(
            one.is_within(height) and (one.p > alpha or one.is_within(bound)) for one in (self.middle, self.slope)
        )


@dataclass(frozen=True)
class CurveTests:
    """All tests of one curve.

    Attributes:
        middle: inner positions less the two ends.
        slope: of a line through the means.
        first: the first position less all others.
        last: the last position less all others.
        others: the curve without its first or last position, whichever is the further from all others in standard
            errors; None where no step can be: neither end is significant, or middle or slope is more so, or there are
            fewer than four positions.
        deviation: of the position that lies furthest from the curve's mean.
        quadratic: a parabola.
        two_lines: before and after a break.
    """

    middle: Contrast
    slope: Contrast
    first: Contrast
    last: Contrast
    others: Others | None
    deviation: Deviation
    quadratic: Quadratic
    two_lines: TwoLines

    @property
    def end(self) -> Contrast:
        """Of the contrasts of an end with all others, the one that is larger in standard errors."""
        return self.first if self.first.strength > self.last.strength else self.last


def curve_tests(curve: Curve, *, confidence: float, permutations: int, seed: int) -> CurveTests:
    """Return all tests of a testable curve (:meth:`~lenscore.analysis.shape.curve.Curve.why_untestable`).

    Args:
        curve: to test.
        confidence: of the intervals, 1 − α.
        permutations: number of permutations of a permutation test.
        seed: of the permutations.
    """

    def tested(one: Curve, *weights: np.ndarray) -> list[Contrast]:
        return contrasts(one, np.stack(weights), confidence=confidence, permutations=permutations, seed=seed)

    places = curve.places
    middle, slope, first, last = tested(
        curve,
        middle_weights(places),
        slope_weights(places),
        end_weights(len(places), 0),
        end_weights(len(places), -1),
    )
    others = None
    end, place = (first, places[0]) if first.strength > last.strength else (last, places[-1])
    stands_out = end.p <= 1 - confidence and end.strength >= max(middle.strength, slope.strength)
    if stands_out and len(places) >= _FEWEST_PLACES_OF_A_STEP:
        rest = curve.without(place)
        others = Others(*tested(rest, middle_weights(rest.places), slope_weights(rest.places)))
    return CurveTests(
        middle,
        slope,
        first,
        last,
        others,
        largest_deviation(curve, confidence),
        quadratic(curve, confidence),
        two_lines(curve, confidence),
    )
