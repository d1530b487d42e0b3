"""Validation of the shape tests: how often each test, each verdict and each interval is right on simulated studies.

Prints tables in Markdown, which are copied to docs/shape-tests.md. Seeded: the same numbers on every machine, up to
rounding. The exit status is 1 if a rate on flat, exchangeable studies is outside its 95% band, or if a lens is said to
point to blocks that matter in more placebos than such a band allows.
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from benchmarks.shape import tables
from benchmarks.shape.coverage import Intervals, intervals
from benchmarks.shape.placebo import Placebo, says_something
from benchmarks.shape.rates import Outcome, outcome
from benchmarks.shape.simulate import Design


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.shape", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--flat", type=int, default=700, help="simulated studies of three flat curves")
    parser.add_argument("--otherwise", type=int, default=400, help="of each other kind of flat study")
    parser.add_argument("--power", type=int, default=200, help="of each kind of study that is not flat")
    parser.add_argument("--shapes", type=int, default=100, help="of each shape other than an inverted U")
    parser.add_argument("--coverage", type=int, default=500, help="of each kind of study whose intervals are counted")
    parser.add_argument("--processes", type=int, help="by default as many as there are cores")
    parser.add_argument("--placebos", type=int, default=2000, help="studies whose lens has no tie to any cause")
    arguments = parser.parse_args()
    started = time.monotonic()
    with ProcessPoolExecutor(arguments.processes) as pool:

        def run(design: Design, simulations: int) -> list[Outcome]:
            return list(pool.map(partial(outcome, design), range(simulations), chunksize=20))

        def cover(design: Design, simulations: int) -> list[Intervals]:
            found = pool.map(partial(intervals, design), range(simulations), chunksize=20)
            return [one for one in found if one is not None]

        def share(placebo: Placebo) -> float:
            said = pool.map(partial(says_something, placebo), range(arguments.placebos), chunksize=50)
            return float(np.mean(list(said)))

        valid = tables.flat(run, arguments.flat, arguments.otherwise)
        tables.power(run, arguments.power)
        tables.steps_and_others(run, arguments.shapes)
        tables.sizes(run, arguments.power)
        tables.uneven(run, arguments.power)
        tables.coverage_of_intervals(cover, arguments.coverage)
        valid &= tables.placebos(share, arguments.placebos)
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    return 0 if valid else 1


if __name__ == "__main__":
    sys.exit(main())
