"""Benchmark the logit lens over every layer: this project's engine, plain transformers, TransformerLens.

Prints JSON lines (``python -m benchmarks.lens.table`` makes a Markdown table of them), progress on standard error.
Fails where contestants in float32 do not compute the same lens. Timings mean something only on a machine that does
nothing else.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.lens.console import add_common_arguments, print_lines, say
from benchmarks.lens.contestants import ALL, REFERENCE
from benchmarks.lens.flops import Tokens
from benchmarks.lens.lines import Line, machine_line, workload_lines
from benchmarks.lens.measure import Setting, measure
from benchmarks.lens.workloads import WORKLOADS, ContextSource, Workload


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    arguments = _parser().parse_args()
    setting = Setting(
        model=arguments.model,
        contestants=[contestant for contestant in ALL if contestant.name not in arguments.without],
        threads=arguments.threads,
        rounds=arguments.rounds,
    )
    torch.set_num_threads(setting.threads)
    workloads = [workload for workload in WORKLOADS if workload.name in arguments.only]
    return print_lines(_run(setting, workloads, arguments.dataset, arguments.questions))


def _run(setting: Setting, workloads: Sequence[Workload], dataset: Path | None, n_questions: int) -> Iterator[Line]:
    source = ContextSource(setting.model, dataset)
    rates = []
    for workload in workloads:
        questions = source.contexts(workload, n_questions)
        tokens = Tokens.of_workload(questions)
        say(f"{workload.name}: {sum(map(len, questions))} contexts, {tokens.read} tokens, {tokens.unique} unique")
        measured = measure(setting, questions)
        yield from workload_lines(setting, workload.name, questions, measured)
        rates += measured.rates
    yield machine_line(setting, rates)


def _parser() -> argparse.ArgumentParser:
    workloads = [workload.name for workload in WORKLOADS]
    rivals = [contestant.name for contestant in ALL if contestant != REFERENCE]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lens", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.add_argument("--questions", type=int, default=1, help="of each workload")
    parser.add_argument("--rounds", type=int, default=5, help="that are timed")
    parser.add_argument(
        "--only", nargs="+", choices=workloads, default=workloads, metavar="WORKLOAD", help=" | ".join(workloads)
    )
    parser.add_argument(
        "--without", nargs="+", choices=rivals, default=[], metavar="CONTESTANT", help=" | ".join(rivals)
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
