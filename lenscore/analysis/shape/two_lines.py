"""Simonsohn's two-lines test of a U shape.

Advances in Methods and Practices in Psychological Science 1 (2018), 538–555, doi 10.1177/2515245918805755.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from lenscore.analysis.shape.curve import Curve
from lenscore.analysis.shape.regressions import Coefficient, clustered_fit, coefficient

_KNOTS = 5  # Harrell 2015, §2.4.6: enough for most curves


@dataclass(frozen=True)
class TwoLines:
    """Two lines, one on either side of a break.

    Attributes:
        break_point: relative position.
        before: slope of the line up to the break, the break included.
        after: slope of the line from the break on, the break included.
        shape: ``inverted U`` if the lines rise and then fall, ``U`` if they fall and then rise, else None.
        p: the larger p of the two slopes if their signs differ, else 1; NaN where a slope cannot be tested.
    """

    break_point: float
    before: Coefficient
    after: Coefficient
    shape: str | None
    p: float


def two_lines(curve: Curve, confidence: float) -> TwoLines:
    """Test whether a curve turns: two lines, their slopes significant and of opposite signs (Simonsohn 2018).

    It is an intersection-union test (both slopes must differ from 0): it needs no correction for testing two slopes
    and is conservative on flat curves. The break is set by the paper's Robin Hood procedure: (1) fit a smooth curve;
    (2) take its most extreme value among inner positions, the highest if the quadratic rises at the first
    position, else the lowest; (3) the flat region consists of the inner positions whose fitted value is within one
    standard error of it; (4) test the two slopes with the break at the median of the region's tokens; (5) move the
    break to their z₂/(z₁ + z₂) quantile, z₁ and z₂ being the |z| of the slopes: the weaker line gets more tokens.

    Adapted to few, discrete positions and to several tokens a question:

    - The smooth curve is a natural cubic spline fitted by least squares, with a knot at every position if there are at
      most five, else five knots at equally spaced positions. With up to five positions it runs through the means of
      the positions.
    - Its standard errors are clustered by question and leave out the error of the curve's mean level, which all
      positions share. Questions differ far more than positions do, so with the error of the level included, the flat
      region of every paired curve would hold all positions. For unpaired tokens the two are nearly the same.
    - Inner positions are those between the 10% and 90% quantiles of the tokens, as in the paper's software; if there
      are none, all between the first and the last.
    - If the break is at a position, that position belongs to both lines, as in the paper, which takes each slope from
      the interrupted regression whose line includes the break. With a jump at the break, such a regression fits each
      line to its own side only, so each slope is fitted on its side here. Both sides have at least two positions.
    - Standard errors of the slopes are clustered by question; in the paper they are robust to unequal variances.

    Args:
        curve: with at least three positions.
        confidence: of the slopes' intervals.
    """
    flat = _flat_region(curve)
    middle = float(np.median(flat))
    strengths = [abs(slope.z) for slope in _slopes(curve, middle, confidence)]
    total = sum(strengths)
    share = strengths[1] / total if 0 < total < np.inf else 0.5
    break_point = float(np.quantile(flat, share))
    before, after = _slopes(curve, break_point, confidence)
    shape = None
    if before.estimate * after.estimate < 0:
        shape = "inverted U" if before.estimate > 0 else "U"
    p = float(np.maximum(before.p, after.p))
    return TwoLines(break_point, before, after, shape, p if shape or np.isnan(p) else 1.0)


def _flat_region(curve: Curve) -> Float[np.ndarray, " tokens"]:
    """Return the relative position of each token in the flat region of the smooth curve."""
    fitted, errors = smooth(curve)
    tenth, last_tenth = np.quantile(curve.place, [0.1, 0.9])
    inner = (curve.places > tenth) & (curve.places < last_tenth)
    if not inner.any():
        inner[1:-1] = True
    _, linear, square = np.polynomial.polynomial.polyfit(curve.place, curve.value, 2)
    height = fitted if linear + 2 * square * curve.places[0] > 0 else -fitted
    peak = np.flatnonzero(inner)[height[inner].argmax()]
    # The peak belongs to it even where its error is 0.
    near = inner & (height + errors > height[peak])
    near[peak] = True
    return np.asarray(curve.place[np.isin(curve.place, curve.places[near])])


def smooth(curve: Curve) -> tuple[Float[np.ndarray, " positions"], Float[np.ndarray, " positions"]]:
    """Fit a natural cubic spline to the tokens.

    Returns:
        Its values at the positions, and their standard errors without the error of the mean level.
    """
    spread = np.linspace(0, len(curve.places) - 1, min(_KNOTS, len(curve.places))).round().astype(int)
    knots = curve.places[spread]
    # Each column is the natural spline that is 1 at its knot and 0 at the others.
    basis = CubicSpline(knots, np.eye(len(knots)), bc_type="natural")(curve.places)
    fit = clustered_fit(curve, basis[np.searchsorted(curve.places, curve.place)])
    about_mean = basis - basis.mean(axis=0)
    variances = np.einsum("pk,kl,pl->p", about_mean, fit.cov_params(), about_mean)
    return np.asarray(basis @ fit.params), np.sqrt(np.maximum(variances, 0))


def _slopes(curve: Curve, break_point: float, confidence: float) -> tuple[Coefficient, Coefficient]:
    """Return the slopes up to the break and from it on; tokens at the break count on both sides."""
    design = np.column_stack([np.ones_like(curve.place), curve.place - break_point])
    before, after = (
        coefficient(clustered_fit(curve, design, within), 1, confidence)
        for within in (curve.place <= break_point, curve.place >= break_point)
    )
    return before, after
