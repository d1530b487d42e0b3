"""One workload: all contestants load it, agree on it, and then take turns."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.lens.compare import Agreement, compare
from benchmarks.lens.console import say
from benchmarks.lens.contestants import REFERENCE, Contestant
from benchmarks.lens.exchange import Questions, read_results, write_questions
from benchmarks.lens.machine import product_rates
from benchmarks.lens.protocol import Worker


@dataclass(frozen=True)
class Setting:
    """What all workloads of a run have in common."""

    model: Path
    contestants: Sequence[Contestant]
    threads: int
    rounds: int


@dataclass(frozen=True)
class Measured:
    """What a workload gave.

    Attributes:
        agreements: of each contestant but the reference, with the reference.
        seconds: of each contestant, an entry a round.
        peak_mb: of each contestant's process.
        rates: of matrix products, by precision, an entry a round.
    """

    agreements: dict[str, Agreement]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    rates: list[dict[str, float]] = field(default_factory=list)


def measure(setting: Setting, questions: Questions) -> Measured:
    """Run a workload, in processes that end with it, so that the memory of one workload does not count for the next.

    Raises:
        DisagreementError: a contestant computes something else than the reference.
        WorkerError: a contestant's process ended.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory()))
        workers = {contestant.name: stack.enter_context(contestant.start()) for contestant in setting.contestants}
        measured = Measured(_warm_up(setting, workers, scratch, questions))
        _take_turns(setting.rounds, workers, measured)
    return measured


def _warm_up(
    setting: Setting, workers: Mapping[str, Worker], scratch: Path, questions: Questions
) -> dict[str, Agreement]:
    """Run a round that is not timed, and compare its results: a wrong result's time is not worth waiting for."""
    write_questions(scratch / "questions.json", questions)
    results = {}
    for contestant in setting.contestants:
        worker = workers[contestant.name]
        arguments = {"model": str(setting.model), "threads": setting.threads, **contestant.options}
        worker.ask("load", questions=str(scratch / "questions.json"), **arguments)
        say(f"  {contestant.name}: {worker.ask('round')['seconds']:.2f} s in the warm-up")
        file = scratch / f"{contestant.name}.npz"
        worker.ask("save", path=str(file))
        results[contestant.name] = read_results(file, questions)
    agreements = {}
    for contestant in setting.contestants:
        if contestant == REFERENCE:
            continue
        name = contestant.name
        found = agreements[name] = compare(name, results[name], results[REFERENCE.name], contestant.tolerance)
        say(
            f"  {name} agrees: top-1 in {found.top1_agreement:.2%} of {found.rows} rows and {found.ties} ties, "
            f"log-probabilities within {found.largest_difference:.1e}"
        )
    return agreements


def _take_turns(rounds: int, workers: Mapping[str, Worker], measured: Measured) -> None:
    names = list(workers)
    for number in range(rounds):
        measured.rates.append(product_rates())
        first = number % len(names)  # another one begins in each round
        for name in names[first:] + names[:first]:
            answer = workers[name].ask("round")
            measured.seconds.setdefault(name, []).append(answer["seconds"])
            measured.peak_mb[name] = answer["peak_mb"]
        last = ", ".join(f"{name} {measured.seconds[name][-1]:.2f} s" for name in names)
        say(f"  round {number + 1} of {rounds}: {last}")
