"""Least-squares regressions on answer tokens, with standard errors clustered by question."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from statsmodels.regression.linear_model import OLS

from lenscore.analysis.shape.curve import Curve


@dataclass(frozen=True)
class Coefficient:
    """An estimated coefficient.

    Attributes:
        estimate: layers per unit of the regressor.
        standard_error: clustered by question.
        low: lower end of its interval.
        high: upper end.
        p: two-sided, from t with (questions − 1) degrees of freedom; NaN where the fit is exact.
    """

    estimate: float
    standard_error: float
    low: float
    high: float
    p: float

    @property
    def z(self) -> float:
        """The estimate over its standard error."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.float64(self.estimate) / self.standard_error)


@dataclass(frozen=True)
class Quadratic:
    """A parabola fitted to the tokens: value = constant + linear · x + curvature · x², x relative to the mid-range.

    Attributes:
        linear: slope at the middle of the range of positions.
        curvature: below 0 for an inverted U; over a range of 1, the parabola's middle is −curvature/4 above the mean of
            its ends.
        vertex: relative position of the extreme; NaN where there is none.
        vertex_inside: whether the vertex is between the first and the last position. If not, the curve bends but does
            not turn.
    """

    linear: Coefficient
    curvature: Coefficient
    vertex: float
    vertex_inside: bool


def clustered_fit(
    curve: Curve, design: Float[np.ndarray, "tokens regressors"], within: Bool[np.ndarray, " tokens"] | None = None
) -> Any:
    """Fit tokens by least squares; return the results object of statsmodels.

    The covariance is clustered by question with the usual correction for few clusters (Liang & Zeger 1986;
    Cameron & Miller 2015), and inference uses t with (questions − 1) degrees of freedom.

    Args:
        curve: whose token values are the response.
        design: the regressors, with a constant.
        within: which tokens to fit; all by default.
    """
    kept = slice(None) if within is None else within
    with np.errstate(invalid="ignore", divide="ignore"):
        return OLS(curve.value[kept], design[kept]).fit(
            cov_type="cluster", cov_kwds={"groups": curve.question[kept]}, use_t=True
        )


def coefficient(fit: Any, index: int, confidence: float) -> Coefficient:
    """Return one coefficient of a fit with its interval."""
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = fit.conf_int(alpha=1 - confidence)[index]
        error, p = fit.bse[index], fit.pvalues[index]
    # The error of an exact fit is of the size of rounding, or NaN.
    exact = not error > 1e-10 * np.abs(fit.model.endog).max()
    return Coefficient(
        float(fit.params[index]), 0.0 if exact else float(error), float(low), float(high), np.nan if exact else float(p)
    )


def quadratic(curve: Curve, confidence: float) -> Quadratic:
    """Fit a quadratic in relative position to the answer tokens, with standard errors clustered by question.

    A significant curvature does not show a U (Simonsohn 2018; Lind & Mehlum 2010): a curve that levels off has
    curvature too, often with its vertex outside the range.

    Args:
        curve: with at least three positions.
        confidence: of the intervals.
    """
    first, last = curve.places[[0, -1]]
    centre = (first + last) / 2
    x = curve.place - centre
    fit = clustered_fit(curve, np.column_stack([np.ones_like(x), x, x**2]))
    linear, curvature = coefficient(fit, 1, confidence), coefficient(fit, 2, confidence)
    vertex = centre - linear.estimate / (2 * curvature.estimate) if curvature.estimate else np.nan
    return Quadratic(linear, curvature, float(vertex), bool(first < vertex < last))
