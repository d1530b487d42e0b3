"""How often each test is significant and each verdict is given."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from benchmarks.shape.simulate import Design
from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.shape.verdicts import VERDICTS, CurveTests, curve_tests, smallest_detectable, verdicts

RESAMPLES = 400
PERMUTATIONS = 599  # 600 is divisible by 20, 40 and 60, so that the p-value can reach each level exactly
CONFIDENCE = 0.95
SMALLEST_EFFECT = 0.5


@dataclass(frozen=True)
class Outcome:
    """The tests of one simulated curve; None where it cannot be tested."""

    tests: CurveTests | None

    @property
    def smallest(self) -> float:
        """The smallest contrast that the study detects with 80% power."""
        if self.tests is None:
            return np.nan
        return smallest_detectable(self.tests.middle.standard_error, 1 - CONFIDENCE)


@dataclass(frozen=True)
class Rates:
    """Shares of studies.

    Attributes:
        studies: how many.
        tests: of each test, the share of studies in which it is significant for any curve.
        verdicts: of each verdict, the share of studies with a curve that gets it.
        bent: the same for ``inverted U`` or ``U``.
        tilted: the same for ``rising`` or ``falling``.
        supported: the same for ``inverted U`` or ``U`` with all three supporting tests.
    """

    studies: int
    tests: dict[str, float]
    verdicts: dict[str, float]
    bent: float
    tilted: float
    supported: float


def outcome(design: Design, seed: int, *, resamples: int = RESAMPLES, permutations: int = PERMUTATIONS) -> Outcome:
    """Simulate a curve and test it; the seed is that of data, permutations and resamples."""
    curve = design.simulate(np.random.default_rng([seed, design.questions]))
    if curve.why_untestable():
        return Outcome(None)
    return Outcome(curve_tests(curve, Bootstrap(resamples, CONFIDENCE, seed), permutations))


def study_rates(outcomes: Sequence[Outcome], curves: int) -> Rates:
    """Return the rates over studies of ``curves`` curves each, corrected within each study."""
    alpha = 1 - CONFIDENCE
    rows, names, supported = [], [], []
    for start in range(0, len(outcomes) - curves + 1, curves):
        study = outcomes[start : start + curves]
        tested = [one.tests for one in study if one.tests]
        found = verdicts(tested, confidence=CONFIDENCE, smallest_effect=SMALLEST_EFFECT)
        corrected = [(one.middle_p, one.slope_p, one.curvature_p, one.two_lines_p) for one in found]
        rows.append((np.array(corrected).reshape(-1, 4) <= alpha).any(axis=0))
        names.append({*(one.name for one in found), *(["undecided"] if len(tested) < curves else [])})
        supported.append(any(one.supporting_tests == 3 for one in found))
    share = np.mean(rows, axis=0)
    return Rates(
        len(names),
        dict(zip(("contrast", "slope", "quadratic", "two lines"), map(float, share), strict=True)),
        {verdict: float(np.mean([verdict in of_study for of_study in names])) for verdict in VERDICTS},
        bent=float(np.mean([bool({"inverted U", "U"} & of_study) for of_study in names])),
        tilted=float(np.mean([bool({"rising", "falling"} & of_study) for of_study in names])),
        supported=float(np.mean(supported)),
    )


def band(rate: float, simulations: int) -> tuple[float, float]:
    """Return the 95% band of an observed share whose expectation is the rate (binomial)."""
    low, high = binom.interval(0.95, simulations, rate)
    return low / simulations, high / simulations
