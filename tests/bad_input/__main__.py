"""Print the catalogue as a table: ``python -m tests.bad_input``, or ``make bad-input``."""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.bad_input import CASES
from tests.bad_input.case import outcome


def main() -> int:
    """Print the answers to all cases, and how many there are of which kind; return 1 where one is not right."""
    counts: Counter[tuple[str, bool]] = Counter()
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            found = outcome(case, Path(folder))
            message = (
                found.message.replace(folder, "…").removeprefix("the config cannot be run:\n  ").replace("\n", " ")
            )
        counts[case.area, found.fault is None] += 1
        print(f"{case.area:8} {case.name[:45]:45} {found.fault or 'refused':12} {message[:140]}")
    print()
    for area in dict.fromkeys(case.area for case in CASES):
        print(f"{area:8} {counts[area, True]:4} refused well {counts[area, False]:4} not")
    faults = sum(count for (_, good), count in counts.items() if not good)
    print(f"all      {len(CASES) - faults:4} refused well {faults:4} not")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
