"""How often tests and verdicts say what."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from benchmarks.shape.simulate import Design
from lenscore.analysis.shape.verdicts import VERDICTS, CurveTests, curve_tests, smallest_detectable, verdicts
from lenscore.study.analysis import AnalysisSpec

# 600 is divisible by 20, 40 and 60: no level that is asked for is missed by rounding.
SETTINGS = AnalysisSpec(permutations=599, resamples=400)


@dataclass(frozen=True)
class Outcome:
    """The tests of one simulated curve; None where it cannot be tested."""

    tests: CurveTests | None

    @property
    def smallest(self) -> float:
        """The smallest contrast that it could have found."""
        if self.tests is None:
            return np.nan
        return smallest_detectable(self.tests.middle.standard_error, 1 - SETTINGS.confidence)


@dataclass(frozen=True)
class Rates:
    """Shares of studies.

    Attributes:
        studies: how many.
        tests: of each test, the share of studies in which it is significant for any curve.
        verdicts: of each verdict, the share of studies with a curve that gets it.
        bent: the same for ``inverted U`` or ``U``.
        tilted: the same for ``rising`` or ``falling``.
        supported: the same for ``inverted U`` or ``U`` that all three tests of a shape support.
    """

    studies: int
    tests: dict[str, float]
    verdicts: dict[str, float]
    bent: float
    tilted: float
    supported: float


def outcome(design: Design, seed: int) -> Outcome:
    """Simulate a curve and test it; the seed draws the data, the permutations and the resamples."""
    curve = design.simulate(np.random.default_rng([seed, design.questions]))
    if curve.why_untestable():
        return Outcome(None)
    return Outcome(curve_tests(curve, SETTINGS.model_copy(update={"seed": seed})))


def study_rates(outcomes: Sequence[Outcome], curves: int) -> Rates:
    """Return the rates of studies made of so many curves each, corrected within each study."""
    alpha = 1 - SETTINGS.confidence
    rows, words, supported = [], [], []
    for start in range(0, len(outcomes) - curves + 1, curves):
        study = outcomes[start : start + curves]
        tested = [one.tests for one in study if one.tests]
        found = verdicts(tested, SETTINGS)
        corrected = [(one.middle_p, one.slope_p, one.curvature_p, one.two_lines_p) for one in found]
        rows.append((np.array(corrected).reshape(-1, 4) <= alpha).any(axis=0))
        words.append({*(one.words for one in found), *(["undecided"] if len(tested) < curves else [])})
        supported.append(any(one.supporting_tests == 3 for one in found))
    share = np.mean(rows, axis=0)
    return Rates(
        len(words),
        dict(zip(("contrast", "slope", "quadratic", "two lines"), map(float, share), strict=True)),
        {verdict: float(np.mean([verdict in said for said in words])) for verdict in VERDICTS},
        bent=float(np.mean([bool({"inverted U", "U"} & said) for said in words])),
        tilted=float(np.mean([bool({"rising", "falling"} & said) for said in words])),
        supported=float(np.mean(supported)),
    )


def band(rate: float, simulations: int) -> tuple[float, float]:
    """Return the 95% band of an observed share whose expectation is the rate (binomial)."""
    low, high = binom.interval(0.95, simulations, rate)
    return low / simulations, high / simulations
