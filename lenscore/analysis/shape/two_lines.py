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
        before: slope of the line up to the break, which it holds.
        after: slope of the line from the break on, which it holds.
        shape: ``inverted U`` if the slopes rise and then fall, ``U`` if they fall and then rise, else None.
        p: the larger p of the two slopes if their signs differ, else 1; NaN where a slope cannot be tested.
    """

    break_point: float
    before: Coefficient
    after: Coefficient
    shape: str | None
    p: float


def two_lines(curve: Curve, confidence: float) -> TwoLines:
    """Test whether a curve turns: two lines, their slopes significant and of opposite signs (Simonsohn 2018).

    Being an intersection-union test (both slopes must differ from 0), it needs no correction for the two and is
    conservative on flat curves. The break is set by the paper's Robin Hood procedure: (1) fit a smooth curve;
    (2) take its most extreme value among inner positions, the highest if the quadratic rises at the first
    position, else the lowest; (3) the flat region holds the inner positions whose fitted value is within one
    standard error of it; (4) test the two slopes with the break at the median of the region's tokens; (5) move the
    break to their z₂/(z₁ + z₂) quantile, |z| of first and second slope, which gives more tokens to the weaker line.

    Adapted to few, discrete positions and to tokens that share questions:

    - The smooth curve is a natural cubic spline by least squares, with a knot at every position where there are no
      more than five, else five knots at equally spaced positions. With up to five positions it thus runs through
      the positions' means.
    - Its standard errors are clustered by question and leave out the error of the curve's mean level, which all
      positions share: questions differ far more from one another than positions do, and by the errors of the level
      every paired curve would be flat throughout. For unpaired tokens the two are nearly the same.
    - Inner positions lie between the 10% and 90% quantiles of the tokens, as in the paper's software; all between
      first and last where that leaves none.
    - The break may fall on a position, which then belongs to both lines, each slope being taken from the
      regression whose line holds the break, as in the paper. As an interrupted regression with a jump fits each line
      to its own side alone, each slope is fitted on its side. Either side keeps two positions or more.
    - Slopes have clustered standard errors, where the paper has ones robust to unequal variances.

    Args:
        curve: at least three positions.
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
    """Return the relative positions of the tokens in the smooth curve's flat region."""
    fitted, errors = smooth(curve)
    tenth, last_tenth = np.quantile(curve.place, [0.1, 0.9])
    inner = (curve.places > tenth) & (curve.places < last_tenth)
    if not inner.any():
        inner[1:-1] = True
    _, linear, square = np.polynomial.polynomial.polyfit(curve.place, curve.value, 2)
    height = fitted if linear + 2 * square * curve.places[0] > 0 else -fitted
    peak = np.flatnonzero(inner)[height[inner].argmax()]
    # The peak itself, also where it has no error.
    near = inner & (height + errors > height[peak])
    near[peak] = True
    return np.asarray(curve.place[np.isin(curve.place, curve.places[near])])


def smooth(curve: Curve) -> tuple[Float[np.ndarray, " positions"], Float[np.ndarray, " positions"]]:
    """Fit a natural cubic spline to the tokens; return it at the positions, and its standard errors about its mean."""
    spread = np.linspace(0, len(curve.places) - 1, min(_KNOTS, len(curve.places))).round().astype(int)
    knots = curve.places[spread]
    # Each column is the natural spline that is 1 at its knot and 0 at the others.
    basis = CubicSpline(knots, np.eye(len(knots)), bc_type="natural")(curve.places)
    fit = clustered_fit(curve, basis[np.searchsorted(curve.places, curve.place)])
    about_mean = basis - basis.mean(axis=0)
    variances = np.einsum("pk,kl,pl->p", about_mean, fit.cov_params(), about_mean)
    return np.asarray(basis @ fit.params), np.sqrt(np.maximum(variances, 0))


def _slopes(curve: Curve, break_point: float, confidence: float) -> tuple[Coefficient, Coefficient]:
    """Return the slopes of the tokens up to the break and from it on; both sides hold a token at the break."""
    design = np.column_stack([np.ones_like(curve.place), curve.place - break_point])
    before, after = (
        coefficient(clustered_fit(curve, design, within), 1, confidence)
        for within in (curve.place <= break_point, curve.place >= break_point)
    )
    return before, after
