"""What runs in a part's process: it appends each line that the part yields to a file, as soon as it has it."""

import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from benchmarks.gpu.plan import Line, Setting


def fault(about: Line, error: Exception) -> Line:
    """Return the line of something that failed where the rest of its part goes on: a claim that does not hold."""
    return {**about, "kind": "fault", "error": f"{type(error).__name__}: {error}"[:500], "holds": False}


def guarded(about: Line, lines: Callable[[], Iterator[Line]]) -> Iterator[Line]:
    """Yield lines up to an error, which becomes a line too.

    Args:
        about: what the error is reported of.
        lines: makes the lines.
    """
    try:
        yield from lines()
    except Exception as error:  # whatever it is, it is reported, and what follows does not depend on it
        yield fault(about, error)


def main() -> None:
    """Run a part: its module, setting and options, and the file for its lines, are the arguments."""
    module, setting, options, file = sys.argv[1:]
    lines = import_module(module).run(Setting(**json.loads(setting)), **json.loads(options))
    with Path(file).open("a", encoding="utf-8") as out:
        for line in lines:
            print(json.dumps(line), file=out, flush=True)


if __name__ == "__main__":
    main()
