"""A contestant's process: it reads commands from its standard input and answers each with one line of JSON.

Each contestant has a separate process, so that libraries, allocators and thread pools do not mix and the peak memory is
the contestant's. Commands, by their key ``do``:

- ``load`` with the arguments of the worker's loader, and ``questions``: the file of contexts;
- ``round``: run the lens over all contexts; answers ``seconds`` and ``peak_mb`` (the process's, since its start);
- ``save`` with ``path``: write the last round's results.

Needs only NumPy, as the workers' environments differ.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.lens.exchange import Questions, Results, read_questions, write_results

CHECKOUT = Path(__file__).resolve().parents[2]

# Maps a workload's contexts to results, context by context in their order.
Lens = Callable[[Questions], Results]


class WorkerError(Exception):
    """A contestant's process ended before its time."""


class Worker:
    """The benchmark's end: starts the process, and ends it with the block.

    Args:
        name: the contestant's, for messages.
        python: the interpreter of its environment.
        module: the worker; it must end in a call of :func:`serve`.
    """

    def __init__(self, name: str, python: Path, module: str):
        self._name = name
        self._process = subprocess.Popen(
            [python, "-m", module],
            cwd=CHECKOUT,
            # The model is on disk, and progress is the benchmark's to report.
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Give a command and wait for its answer.

        Raises:
            WorkerError: the process has ended; its standard error, which is also this process's, says why.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            answer = ""
        else:
            answer = self._process.stdout.readline()
        if not answer:
            raise WorkerError(f"{self._name}: its process ended with status {self._process.wait()} at '{do}'")
        found: dict[str, Any] = json.loads(answer)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()


def serve(load: Callable[..., Lens]) -> None:
    """The worker's end: obey commands until there are no more.

    Args:
        load: makes the lens.
    """
    # Whatever a library prints must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        command = json.loads(line)
        answer: dict[str, Any] = {}
        match command.pop("do"):
            case "load":
                questions = read_questions(Path(command.pop("questions")))
                lens = load(**command)
            case "round":
                start = time.perf_counter()
                results = lens(questions)
                answer = {"seconds": time.perf_counter() - start, "peak_mb": _peak_mb()}
            case "save":
                write_results(Path(command["path"]), results)
        print(json.dumps(answer), file=answers, flush=True)


def _peak_mb() -> float:
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage's figure begins with that of the process which started this one
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
