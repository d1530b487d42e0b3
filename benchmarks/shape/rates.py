"""How often each test is significant and each verdict is given."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from benchmarks.shape.simulate import Design
from lenscore.analysis.shape.curve_tests import CurveTests, curve_tests
from lenscore.analysis.shape.verdicts import FORMS, NO_FORM, SIZES, STEP_FORMS, smallest_detectable, verdicts

PERMUTATIONS = 599  # 600 is divisible by 20, 40 and 60, so that the p-value can reach each level exactly
CONFIDENCE = 0.95
SMALLEST_EFFECT = 0.5  # layers


@dataclass(frozen=True)
class Outcome:
    """The tests of one simulated curve; None where it cannot be tested."""

    tests: CurveTests | None

    def smallest(self, curves: int = 1) -> float:
        """The smallest contrast that a study of so many curves detects with 80% power, after Holm's correction."""
        if self.tests is None:
            return np.nan
        return smallest_detectable(self.tests.middle.standard_error, (1 - CONFIDENCE) / curves)

    @property
    def is_level_in_bend_and_tilt(self) -> bool:
        """Whether bend and tilt are within the smallest effect: what ``flat`` would be, did it not ask positions."""
        return self.tests is not None and all(
            one.is_within(SMALLEST_EFFECT) for one in (self.tests.middle, self.tests.slope)
        )


@dataclass(frozen=True)
class Rates:
    """Shares of studies.

    Attributes:
        studies: how many.
        tests: of each test, the share of studies in which it is significant for any curve.
        forms: of each form, the share of studies with a curve that has it.
        sizes: of each size, the share of studies with a curve that has a form of this size.
        shaped: the share of studies with a curve that has any form.
        bent: the same for ``inverted U`` or ``U``.
        tilted: the same for ``rising`` or ``falling``.
        stepped: the same for a step of any kind.
        supported: the same for ``inverted U`` or ``U`` with all three supporting tests.
        flat: the same for the verdict ``flat``.
        undecided: the same for the verdict ``undecided``.
    """

    studies: int
    tests: dict[str, float]
    forms: dict[str, float]
    sizes: dict[str, float]
    shaped: float
    bent: float
    tilted: float
    stepped: float
    supported: float
    flat: float
    undecided: float


def outcome(design: Design, seed: int, *, permutations: int = PERMUTATIONS) -> Outcome:
    """Simulate a curve and test it; the seed is that of data and permutations."""
    curve = design.simulate(np.random.default_rng([seed, design.questions]))
    if curve.why_untestable():
        return Outcome(None)
    return Outcome(curve_tests(curve, confidence=CONFIDENCE, permutations=permutations, seed=seed))


def study_rates(outcomes: Sequence[Outcome], curves: int) -> Rates:
    """Return the rates over studies of ``curves`` curves each, corrected within each study."""
    alpha = 1 - CONFIDENCE
    rows, found = [], []
    for start in range(0, len(outcomes) - curves + 1, curves):
        study = outcomes[start : start + curves]
        tested = [one.tests for one in study if one.tests]
        named = verdicts(tested, [SMALLEST_EFFECT] * len(tested), confidence=CONFIDENCE)
        corrected = [(one.middle_p, one.slope_p, one.curvature_p, one.two_lines_p) for one in named]
        rows.append((np.array(corrected).reshape(-1, 4) <= alpha).any(axis=0))
        untested = len(tested) < curves
        found.append(
            {
                **{form: any(one.form == form for one in named) for form in FORMS},
                **{size: any(one.size == size and one.form != NO_FORM for one in named) for size in SIZES},
                "supported": any(one.supporting_tests == 3 for one in named),
                "flat": any(one.name == "flat" for one in named),
                "undecided": untested or any(one.name == "undecided" for one in named),
            }
        )

    def share(*keys: str) -> float:
        return float(np.mean([any(study[key] for key in keys) for study in found]))

    return Rates(
        len(found),
        dict(zip(("contrast", "slope", "quadratic", "two lines"), map(float, np.mean(rows, axis=0)), strict=True)),
        {form: share(form) for form in FORMS},
        {size: share(size) for size in SIZES},
        shaped=share(*FORMS),
        bent=share("inverted U", "U"),
        tilted=share("rising", "falling"),
        stepped=share(*STEP_FORMS),
        supported=share("supported"),
        flat=share("flat"),
        undecided=share("undecided"),
    )


def power_among(shaped: Sequence[Outcome], flat: Sequence[Outcome], curves: int) -> float:
    """Return how often the contrast of a curve is significant after correction, the other curves being flat.

    Args:
        shaped: of the curve that has the effect, one a study.
        flat: of flat curves, to be the others; they are used in turn.
        curves: of a study.
    """
    hits = []
    for number, one in enumerate(shaped):
        others = [flat[(number * (curves - 1) + other) % len(flat)] for other in range(curves - 1)]
        tested = [member.tests for member in (one, *others) if member.tests]
        named = verdicts(tested, [SMALLEST_EFFECT] * len(tested), confidence=CONFIDENCE)
        hits.append(one.tests is not None and named[0].middle_p <= 1 - CONFIDENCE)
    return float(np.mean(hits))


def band(rate: float, simulations: int) -> tuple[float, float]:
    """Return the 95% band of an observed share whose expectation is the rate (binomial)."""
    low, high = binom.interval(0.95, simulations, rate)
    return low / simulations, high / simulations
