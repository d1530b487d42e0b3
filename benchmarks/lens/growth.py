"""How the engine's time and memory grow with the number of contexts, and with their length.

Every size runs in a fresh process, so that peak memory is that of this size. Prints JSON lines: one for each
size, then one for more contexts and one for longer ones, from the smallest size to the largest.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.lens.console import add_common_arguments, print_lines, say
from benchmarks.lens.contestants import ENGINE
from benchmarks.lens.exchange import Questions, write_questions
from benchmarks.lens.flops import Tokens
from benchmarks.lens.lines import Line, spread
from benchmarks.lens.workloads import ContextSource, Workload

_TIMES = (1, 2, 4, 8)
_LENGTHS = (1000, 2000, 4000, 8000)
_POSITIONS = 5
_RUNS = 3


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lens.growth", description=__doc__)
    add_common_arguments(parser)
    arguments = parser.parse_args()
    return print_lines(_lines(arguments.model, arguments.dataset, arguments.threads))


def _lines(model: Path, dataset: Path | None, threads: int) -> Iterator[Line]:
    source = ContextSource(model, dataset)
    for growing, sizes in (("number", _more_contexts(source)), ("length", _longer_contexts(source))):
        measured = []
        for questions in sizes:
            measured.append(_run(model, questions, threads))
            yield {"kind": "size", "growing": growing, **measured[-1]}
        yield {"kind": "growth", "growing": growing, **_growth(measured[0], measured[-1])}


def _more_contexts(source: ContextSource) -> Iterator[Questions]:
    for times in _TIMES:
        yield source.contexts(Workload((10,), _POSITIONS), times)


def _longer_contexts(source: ContextSource) -> Iterator[Questions]:
    for length in _LENGTHS:
        yield source.contexts(source.workload_within(length, _POSITIONS), 1)


def _run(model: Path, questions: Questions, threads: int) -> Line:
    with TemporaryDirectory() as scratch, ENGINE.start() as worker:
        file = Path(scratch, "questions.json")
        write_questions(file, questions)
        worker.ask("load", questions=str(file), model=str(model), threads=threads, **ENGINE.options)
        worker.ask("round")  # a warm-up
        rounds = [worker.ask("round") for _ in range(_RUNS)]
    tokens = Tokens.of_workload(questions)
    seconds = [found["seconds"] for found in rounds]
    line = {
        "contexts": sum(map(len, questions)),
        "longest": max(len(context.input_ids) for contexts in questions for context in contexts),
        "tokens": tokens.read,
        "unique_tokens": tokens.unique,
        "seconds": spread(seconds),
        "tokens_per_second": tokens.read / median(seconds),
        "peak_mb": rounds[-1]["peak_mb"],
    }
    say(f"{line['contexts']} contexts of up to {line['longest']} tokens: {median(seconds):.2f} s")
    return line


def _growth(first: Line, last: Line) -> Line:
    """Compare the largest size with the smallest."""
    times = last["seconds"]["median"] / first["seconds"]["median"]
    return {
        "contexts_ratio": last["contexts"] / first["contexts"],
        "tokens_ratio": last["tokens"] / first["tokens"],
        "unique_tokens_ratio": last["unique_tokens"] / first["unique_tokens"],
        "time_ratio": times,
        "time_per_unique_token_ratio": times * first["unique_tokens"] / last["unique_tokens"],
        "peak_mb_difference": last["peak_mb"] - first["peak_mb"],
    }


if __name__ == "__main__":
    sys.exit(main())
