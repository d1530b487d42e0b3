"""Validation of the shape tests: how often each test and each verdict is right on simulated studies.

Prints tables in Markdown, which are copied to docs/shape-tests.md. Seeded: the same numbers on every machine, up to
rounding. The exit status is 1 if a rate on flat, exchangeable studies is outside its 95% band, or if a lens is said to
point to blocks that matter in more placebos than such a band allows.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.shape.placebo import ALPHA, BRIEF, LONG, Placebo, Profile, says_something
from benchmarks.shape.rates import Outcome, Rates, band, outcome, study_rates
from benchmarks.shape.simulate import Design

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
    "saturating": (0.0, 1.0, 1.0, 1.0, 1.0),
    "linear": (0.0, 0.25, 0.5, 0.75, 1.0),
    "rises, then falls by half": (0.0, 0.5, 1.0, 0.75, 0.5),
}
_COLUMNS = ("contrast", "slope", "quadratic", "two lines")


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.shape", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--flat", type=int, default=2000, help="simulated studies of three flat curves")
    parser.add_argument("--otherwise", type=int, default=2000, help="of each other kind of flat study")
    parser.add_argument("--power", type=int, default=500, help="of each kind of study that is not flat")
    parser.add_argument("--processes", type=int, help="by default as many as there are cores")
    parser.add_argument("--placebos", type=int, default=2000, help="studies whose lens has no tie to any cause")
    arguments = parser.parse_args()
    started = time.monotonic()
    with ProcessPoolExecutor(arguments.processes) as pool:

        def run(design: Design, simulations: int) -> list[Outcome]:
            return list(pool.map(partial(outcome, design), range(simulations), chunksize=20))

        valid = _flat_tables(run, arguments.flat, arguments.otherwise)
        _power_tables(run, arguments.power)

        def share(placebo: Placebo) -> float:
            said = pool.map(partial(says_something, placebo), range(arguments.placebos), chunksize=50)
            return float(np.mean(list(said)))

        valid &= _placebo_table(share, arguments.placebos)
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    return 0 if valid else 1


def _flat_tables(run: Callable[[Design, int], list[Outcome]], studies: int, otherwise: int) -> bool:
    exchangeable = run(FLAT, 3 * studies)
    alone = study_rates(exchangeable, 1)
    low, high = band(0.05, len(exchangeable))
    half_low, half_high = band(0.025, len(exchangeable))
    print(f"### Flat studies\n\n95% bands of {len(exchangeable):,} simulations: {low:.2%} to {high:.2%} around 5%,")
    print(f"{half_low:.2%} to {half_high:.2%} around 2.5%.\n")
    _head("flat curves, alone in their study", "simulations")
    _row("exchangeable", alone)
    for name, design in FLAT_OTHERWISE.items():
        _row(name, study_rates(run(design, otherwise), 1))

    together = study_rates(exchangeable, 3)
    family_low, family_high = band(0.05, together.studies)
    print("\n### Three flat curves a study, Holm's correction\n")
    print(f"Share of studies with any such curve; 95% band around 5%: {family_low:.2%} to {family_high:.2%}.\n")
    _head("three flat curves", "studies")
    _row("exchangeable", together)

    pairs = (alone.bent, alone.tilted, *(alone.tests[name] for name in ("contrast", "slope")))
    singles = [alone.verdicts[name] for name in ("inverted U", "U", "rising", "falling")]
    family = (together.bent, together.tilted, *together.tests.values())
    return (
        all(low <= rate <= high for rate in pairs)
        and all(half_low <= rate <= half_high for rate in singles)
        and all(rate <= family_high for rate in family)
    )


def _power_tables(run: Callable[[Design, int], list[Outcome]], simulations: int) -> None:
    print("\n### Inverted Us: power\n\nThe effect is the contrast of middle and ends, layers.\n")
    _head("questions, effect", "simulations")
    for questions in (50, 100, 300):
        for contrast in (0.25, 0.5, 1.0):
            design = shaped("inverted U", contrast, questions)
            _row(f"{questions}, {contrast}", study_rates(run(design, simulations), 1))

    print("\n### The smallest effect that a study could have found\n")
    print("The simulated effect is the mean of what flat studies of this size report.\n")
    print("| questions | shape | effect simulated | mean reported at it | contrast significant |")
    print("|--:|---|--:|--:|--:|")
    for questions in (50, 100, 300):
        smallest = _mean_smallest(run(replace(FLAT, questions=questions), 2 * simulations))
        for shape in ("inverted U", "U"):
            at_it = run(shaped(shape, smallest, questions), 2 * simulations)
            low, high = band(0.8, len(at_it))
            power = f"{study_rates(at_it, 1).tests['contrast']:.1%} (band around 80%: {low:.1%} to {high:.1%})"
            print(f"| {questions} | {shape} | {smallest:.2f} | {_mean_smallest(at_it):.2f} | {power} |", flush=True)

    print("\n### Other shapes: what is claimed\n")
    print("Height is that of the curve's highest point above its lowest, layers; 300 questions.\n")
    _head("shape, height", "simulations")
    for shape in ("U", "saturating", "linear", "rises, then falls by half"):
        for height in (0.5, 1.0, 2.0):
            effect = tuple(height * part for part in SHAPES[shape])
            _row(f"{shape}, {height}", study_rates(run(replace(FLAT, effect=effect, questions=300), simulations), 1))


def _placebo_table(share: Callable[[Placebo], float], simulations: int) -> bool:
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


def _mean_smallest(outcomes: Sequence[Outcome]) -> float:
    return float(np.nanmean([found.smallest for found in outcomes]))


def shaped(shape: str, contrast: float, questions: int) -> Design:
    """Return a design whose curve has this shape and this contrast of middle and ends."""
    unit = np.array(SHAPES[shape])
    height = contrast / abs(unit[1:-1].mean() - unit[[0, -1]].mean())
    return replace(FLAT, effect=tuple((height * unit).tolist()), questions=questions)


def _head(first: str, count: str) -> None:
    names = [first, count, *_COLUMNS, "inverted U", "U", "either", "and all three tests"]
    names += ["rising", "falling", "either", "flat", "undecided"]
    print(f"| {' | '.join(names)} |\n|---|{'--:|' * (len(names) - 1)}")


def _row(name: str, rates: Rates) -> None:
    found = rates.verdicts
    numbers: Sequence[float] = (
        *(rates.tests[column] for column in _COLUMNS),
        *(found["inverted U"], found["U"], rates.bent, rates.supported),
        *(found["rising"], found["falling"], rates.tilted, found["flat"], found["undecided"]),
    )
    print(f"| {name} | {rates.studies:,} | {' | '.join(f'{number:.1%}' for number in numbers)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
