"""The tables of the validation, printed in Markdown."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.shape.coverage import METHODS, QUANTITIES, Intervals, coverage, true_values
from benchmarks.shape.placebo import ALPHA, BRIEF, LONG, Placebo, Profile
from benchmarks.shape.rates import SMALLEST_EFFECT, Outcome, Rates, band, power_among, study_rates
from benchmarks.shape.simulate import Design

Run = Callable[[Design, int], list[Outcome]]

FLAT = Design()
# Few right in the middle; few at the ends; many right at the end: the curve of depth stays flat.
FLAT_OTHERWISE = {
    "right more often at the ends (0.9, 0.5, 0.4, 0.5, 0.9)": replace(FLAT, accuracy=(0.9, 0.5, 0.4, 0.5, 0.9)),
    "right more often in the middle (0.4, 0.8, 0.9, 0.8, 0.4)": replace(FLAT, accuracy=(0.4, 0.8, 0.9, 0.8, 0.4)),
    "right more often at the end (0.4, 0.4, 0.4, 0.5, 0.9)": replace(FLAT, accuracy=(0.4, 0.4, 0.4, 0.5, 0.9)),
    "95% of depths 0": replace(FLAT, zeros=0.95),
    "30 questions": replace(FLAT, questions=30),
    "10 positions": replace(FLAT, effect=(0.0,) * 10, accuracy=(0.7,) * 10),
}
SHAPES = {
    "inverted U": (0.0, 0.75, 1.0, 0.75, 0.0),
    "U": (1.0, 0.25, 0.0, 0.25, 1.0),
    "recency step down": (1.0, 1.0, 1.0, 1.0, 0.0),
    "recency step up": (0.0, 0.0, 0.0, 0.0, 1.0),
    "primacy step down": (0.0, 1.0, 1.0, 1.0, 1.0),
    "linear": (0.0, 0.25, 0.5, 0.75, 1.0),
    "rises, then falls by half": (0.0, 0.5, 1.0, 0.75, 0.5),
    "levels off in two steps": (0.0, 0.6, 1.0, 1.0, 1.0),
    # Neither bends nor tilts: its middle and ends have the same mean.
    "W": (1 / 3, 0.0, 1.0, 0.0, 1 / 3),
}
CURVES = 6  # of a study whose power is asked after correction


def flat(run: Run, studies: int, otherwise: int) -> bool:
    """Print what flat studies are called; return whether the rates of exchangeable ones are in their bands."""
    exchangeable = run(FLAT, 3 * studies)
    alone = study_rates(exchangeable, 1)
    low, high = band(0.05, len(exchangeable))
    _, half_high = band(0.025, len(exchangeable))
    print(f"### Flat studies\n\n95% band of {len(exchangeable):,} simulations: {low:.2%} to {high:.2%} around 5%.\n")
    _head("flat curves, alone in their study", "simulations")
    _row("exchangeable", alone)
    for name, design in FLAT_OTHERWISE.items():
        _row(name, study_rates(run(design, otherwise), 1))

    together = study_rates(exchangeable, 3)
    _, family_high = band(0.05, together.studies)
    print("\n### Three flat curves a study, Holm's correction\n")
    print(f"Share of studies with any such curve; at most {family_high:.2%} by chance around 5%.\n")
    _head("three flat curves", "studies")
    _row("exchangeable", together)
    return (
        all(low <= alone.tests[name] <= high for name in ("contrast", "slope"))
        and all(alone.forms[name] <= half_high for name in ("inverted U", "U", "rising", "falling"))
        and all(rate <= family_high for rate in together.tests.values())
    )


def power(run: Run, simulations: int) -> None:
    """Print how often inverted Us are found, and whether the smallest effect that is reported is right."""
    print("\n### Inverted Us: power\n\nThe effect is the contrast of middle and ends, layers.\n")
    _head("questions, effect", "simulations")
    for questions in (50, 100, 300):
        for contrast in (0.25, 0.5, 1.0):
            design = shaped("inverted U", contrast, questions)
            _row(f"{questions}, {contrast}", study_rates(run(design, simulations), 1))

    low, high = band(0.8, 2 * simulations)
    print("\n### The smallest effect that a study could have found\n")
    print("The simulated effect is the mean of what flat studies of this size report, for a curve alone in its study")
    print(
        f"and for one of {CURVES} whose others are flat. *Power*: how often the contrast is significant in a study of"
    )
    print(f"{CURVES} curves, after Holm's correction. Band around 80%: {low:.1%} to {high:.1%}.\n")
    print(f"| questions | shape | smallest effect, alone | power alone | power among {CURVES} |", end="")
    print(f" smallest effect, corrected | power among {CURVES} |\n|--:|---|--:|--:|--:|--:|--:|")
    for questions in (50, 100, 300):
        level = run(replace(FLAT, questions=questions), 2 * simulations)
        smallest = {curves: float(np.nanmean([one.smallest(curves) for one in level])) for curves in (1, CURVES)}
        for shape in ("inverted U", "U"):
            at_it = {
                curves: run(shaped(shape, effect, questions), 2 * simulations) for curves, effect in smallest.items()
            }
            alone = study_rates(at_it[1], 1).tests["contrast"]
            among = [power_among(at_it[curves], level, CURVES) for curves in (1, CURVES)]
            print(
                f"| {questions} | {shape} | {smallest[1]:.2f} | {alone:.1%} | {among[0]:.1%} | {smallest[CURVES]:.2f} |"
                f" {among[1]:.1%} |",
                flush=True,
            )


def steps_and_others(run: Run, simulations: int) -> None:
    """Print what shapes other than an inverted U are called."""
    print("\n### Other shapes: what is claimed\n")
    print("Height is that of the curve's highest point above its lowest, layers; 300 questions.\n")
    _head("shape, height", "simulations")
    for shape, effect in SHAPES.items():
        if shape not in ("inverted U", "W"):
            for height in (0.5, 1.0, 2.0):
                design = replace(FLAT, effect=tuple(height * part for part in effect), questions=300)
                _row(f"{shape}, {height}", study_rates(run(design, simulations), 1))


def sizes(run: Run, simulations: int) -> None:
    """Print how often a form is said to be beyond or within the smallest effect, below it, at it and above it."""
    print("\n### More or less than the smallest effect\n")
    print(f"Inverted Us whose contrast is below, at and above the smallest effect of {SMALLEST_EFFECT} layers.")
    print("*Shown*: any form. Of an effect at the bound, *beyond* and *within* are both wrong.\n")
    print("| questions, effect | simulations | shown | beyond | within | open | flat | undecided |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for questions in (100, 300, 1000):
        for contrast in (0.25, 0.5, 1.0):
            found = study_rates(run(shaped("inverted U", contrast, questions), simulations), 1)
            numbers = (found.shaped, *(found.sizes[size] for size in ("beyond", "within", "open")))
            print(_line(f"{questions}, {contrast}", found.studies, (*numbers, found.flat, found.undecided)), flush=True)


def uneven(run: Run, simulations: int) -> None:
    """Print how often a W, which neither bends nor tilts, is called flat."""
    print("\n### Curves that go up and down\n")
    print(
        "A W whose middle and ends have the same mean and which does not tilt, 95% of depths 0 before the effect, 300"
    )
    print("questions. *Bend and tilt within*: how often it would be flat if positions were not asked.\n")
    print("| W, height | simulations | bend and tilt within | flat | undecided | any form |\n|---|--:|--:|--:|--:|--:|")
    for height in (0.0, 0.5, 1.0, 2.0):
        effect = tuple(height * part for part in SHAPES["W"])
        outcomes = run(replace(FLAT, effect=effect, questions=300, zeros=0.95), simulations)
        found = study_rates(outcomes, 1)
        within = float(np.mean([one.is_level_in_bend_and_tilt for one in outcomes]))
        print(_line(str(height), found.studies, (within, found.flat, found.undecided, found.shaped)), flush=True)


def coverage_of_intervals(cover: Callable[[Design, int], Sequence[Intervals]], simulations: int) -> None:
    """Print how often each kind of interval holds the truth."""
    low, high = band(0.95, simulations)
    print("\n### Intervals: how often they hold the true value\n")
    print(
        f"95% intervals of {simulations:,} flat studies; in brackets, their median width in layers (∞: more than half"
    )
    print(f"have no finite end). Band around 95%: {low:.1%} to {high:.1%}.\n")
    print(f"| depths, questions | quantity | {' | '.join(METHODS)} |\n|---|---|{'--:|' * len(METHODS)}")
    for name, design in (("as above", FLAT), ("95% of depths 0", FLAT_OTHERWISE["95% of depths 0"])):
        truth = true_values(design)
        for questions in (12, 24, 50, 100):
            found = coverage(cover(replace(design, questions=questions), simulations), truth)
            for row, quantity in enumerate(QUANTITIES):
                cells = [
                    f"{share:.1%} ({'∞' if np.isinf(width) else f'{width:.1f}'})"
                    for share, width in zip(found.covered[row], found.width[row], strict=True)
                ]
                print(f"| {name}, {questions} | {quantity} | {' | '.join(cells)} |", flush=True)


def shaped(shape: str, contrast: float, questions: int) -> Design:
    """Return a design whose curve has this shape and this contrast of middle and ends."""
    unit = np.array(SHAPES[shape])
    height = contrast / abs(unit[1:-1].mean() - unit[[0, -1]].mean())
    return replace(FLAT, effect=tuple((height * unit).tolist()), questions=questions)


_TESTS = ("contrast", "slope", "quadratic", "two lines")


def _head(first: str, count: str) -> None:
    names = [first, count, *_TESTS, "inverted U", "U", "all three tests", "primacy step", "recency step"]
    names += ["rising", "falling", "any form", "flat", "undecided"]
    print(f"| {' | '.join(names)} |\n|---|{'--:|' * (len(names) - 1)}")


def _row(name: str, rates: Rates) -> None:
    forms = rates.forms
    numbers = (
        *(rates.tests[column] for column in _TESTS),
        *(forms["inverted U"], forms["U"], rates.supported),
        *(forms[f"{end} step up"] + forms[f"{end} step down"] for end in ("primacy", "recency")),
        *(forms["rising"], forms["falling"], rates.shaped, rates.flat, rates.undecided),
    )
    print(_line(name, rates.studies, numbers), flush=True)


def _line(name: str, count: int, shares: Sequence[float]) -> str:
    return f"| {name} | {count:,} | {' | '.join(f'{share:.1%}' for share in shares)} |"


def placebos(share: Callable[[Placebo], float], simulations: int) -> bool:
    """Print how often a lens is said to point to blocks; return whether that is rare enough in brief placebos."""
    _, high = band(ALPHA, simulations)
    print("\n### Where a lens points: placebos, and ties that are there\n")
    print("How often any of a study's four sentences says that a lens points to, or away from, the blocks that matter.")
    print(f"The upper end of the 95% band of {simulations:,} simulations around 5% is {high:.1%}.\n")
    depths = (12, 30, 48)
    print(f"| profiles | correlation of lens and cost | {' | '.join(f'{depth} blocks' for depth in depths)} |")
    print(f"|---|--:|{'--:|' * len(depths)}")

    def row(name: str, profile: Profile, tie: float) -> list[float]:
        shares = [share(Placebo(profile, depth, tie)) for depth in depths]
        print(f"| {name} | {tie:g} | {' | '.join(f'{found:.1%}' for found in shares)} |", flush=True)
        return shares

    # All rows are printed, whatever the first says.
    brief = [found for name, profile in BRIEF.items() for found in row(name, profile, 0.0)]
    for name, profile in LONG.items():
        row(name, profile, 0.0)
    ties = "neighbours correlate by 0.8"
    for tie in (0.6, 0.9):
        row(ties, BRIEF[ties], tie)
    return max(brief) <= high
