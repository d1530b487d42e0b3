"""Runs the parts one after the other, each in a process of its own and no longer than it may."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Literal

from benchmarks.gpu.plan import Line, Part, Setting, time_limits

CHECKOUT = Path(__file__).resolve().parents[2]

# How long a process that is told to end may take, before it is killed.
_GRACE_SECONDS = 3.0
_LAST_LINES = 15


@dataclass(frozen=True)
class Outcome:
    """What became of a part.

    Attributes:
        part: its name.
        status: ``done``, ``out of time`` (its lines are those that it had), or ``crashed``.
        seconds: that it took.
        limit: that it might take.
        lines: its results.
        error: the last line of what it said, where it crashed.
        said: the last lines of its standard error, where it did not end by itself.
    """

    part: str
    status: Literal["done", "out of time", "crashed"]
    seconds: float
    limit: float
    lines: list[Line]
    error: str | None = None
    said: list[str] | None = None

    @property
    def failed(self) -> bool:
        """Whether it crashed, has no result, or one of its claims does not hold. To run out of time is no failure."""
        return self.status == "crashed" or not self.lines or any(line.get("holds") is False for line in self.lines)


def run_parts(
    parts: Sequence[Part],
    setting: Setting,
    total: float,
    environment: Mapping[str, str],
    after_each: Callable[[Sequence[Outcome]], None],
    started: float,
) -> list[Outcome]:
    """Run parts, and return what became of them.

    A part may take all the time that is left but for the limits of the parts after it. So it has its own limit, and
    what the parts before it did not need of theirs.

    Args:
        parts: in their order.
        setting: what they have in common.
        total: seconds for all of them.
        environment: of their processes.
        after_each: is called with the outcomes so far.
        started: when the check began, by ``time.monotonic``.
    """
    outcomes: list[Outcome] = []
    limits = time_limits(parts, total)
    for index, part in enumerate(parts):
        left = started + total - time.monotonic() - _GRACE_SECONDS
        limit = max(0.0, left - sum(limits[index + 1 :]))
        outcomes.append(run_part(part, setting, limit, environment))
        after_each(outcomes)
    return outcomes


def run_part(part: Part, setting: Setting, limit: float, environment: Mapping[str, str]) -> Outcome:
    """Run a part in a process of its own, and end the process and all that it started when its time is over."""
    start = time.monotonic()
    with TemporaryDirectory() as scratch:
        lines, said = Path(scratch, "lines.jsonl"), Path(scratch, "said.txt")
        lines.touch()
        command = [sys.executable, "-m", "benchmarks.gpu.process", part.module]
        command += [json.dumps(asdict(setting)), json.dumps(dict(part.options)), str(lines)]
        with said.open("wb") as stderr:
            status = _wait(command, environment, stderr, limit)
        seconds = time.monotonic() - start
        last = said.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        found = _whole_lines(lines)
    if status == 0:
        return Outcome(part.name, "done", seconds, limit, found)
    if status is None:
        return Outcome(part.name, "out of time", seconds, limit, found, said=last)
    error = next((line for line in reversed(last) if line.strip()), f"its process ended with status {status}")
    return Outcome(part.name, "crashed", seconds, limit, found, error, last)


def _wait(command: Sequence[str], environment: Mapping[str, str], stderr: IO[bytes], limit: float) -> int | None:
    """Return the status with which a command's process ends; None where it ran out of time."""
    process = subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stdout=stderr, stderr=stderr, stdin=subprocess.DEVNULL,
        start_new_session=True,  # a group of processes, so that what it starts ends with it
    )  # fmt: skip
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it has started: ask first, then kill."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"process {process.pid} does not end when it is told to, and is killed", file=sys.stderr)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # nothing of the group is left, as it should be
    process.wait()


def _whole_lines(file: Path) -> list[Line]:
    """Return the lines of a part; the last one may be cut where its process was killed."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1] == "\n"]
