"""Memory: an extraction that runs out of it, two on one device, and one that is killed."""

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.gpu import device as gpu
from benchmarks.gpu import job
from benchmarks.gpu.contexts import Questions
from benchmarks.gpu.device import confine, peak_bytes, start_peak, total_bytes
from benchmarks.gpu.engines import logit_rows
from benchmarks.gpu.plan import Line, Setting
from benchmarks.gpu.process import guarded
from benchmarks.gpu.rows import EXACT, Rows, agreement
from benchmarks.gpu.runner import CHECKOUT
from lenscore.extraction.checked_run import CheckedRun
from lenscore.prefix_tree import sharing

# The share of the memory that a roomy run takes beside the weights.
_SHARE = 0.5
# A driver takes a moment to give back the memory of a process that was killed.
_SECONDS_TO_GIVE_BACK = 10.0
# What free memory may differ by where nothing of the killed job is left: other processes of the machine have some too.
_SLACK_BYTES = 2**28


def run(setting: Setting) -> Iterator[Line]:
    """Yield a line for each event."""
    device = setting.device
    checked, questions = job.prepared(device)
    logit_rows(checked, questions)  # the self-check, and what libraries take at their first call
    before = start_peak(device)
    roomy = logit_rows(checked, questions)
    peak = peak_bytes(device)
    if before is not None and peak is not None:
        case = f"{_SHARE:.0%} of the memory that a roomy run takes beside the weights"
        room = before + _SHARE * (peak - before)
        yield from guarded({"case": case}, partial(_confined, case, room, checked, questions, roomy))
        confine(total_bytes())
    else:
        yield {"kind": "event", "case": "less memory than a run takes", "detail": "a CPU has no limit", "holds": None}
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        yield from guarded({"case": "two jobs at once"}, partial(_two_at_once, device, folder, roomy))
        yield from guarded({"case": "a killed job"}, partial(_killed, device, folder))


class _Messages(logging.Handler):
    """Keeps the messages of a logger."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record.getMessage())


def _confined(case: str, room: float, checked: CheckedRun, questions: Questions, roomy: Rows) -> Iterator[Line]:
    """Run in less room than the roomy run took: it must run out, go on in smaller pieces, and find the same."""
    logger, messages = logging.getLogger(sharing.__name__), _Messages()
    logger.addHandler(messages)
    logger.setLevel(logging.INFO)
    confine(room)
    try:
        found = logit_rows(checked, questions)
    finally:
        logger.removeHandler(messages)
    halved = [message for message in messages.kept if "memory ran out" in message]
    detail = halved[-1] if halved else "memory did not run out"
    yield _same(case, found, roomy, detail, went_on=bool(halved) and checked.prefix_sharing == "shared")


def _two_at_once(device: str, folder: Path, roomy: Rows) -> Iterator[Line]:
    files = [folder / "one.pt", folder / "other.pt"]
    processes = [_start("extract", device, file) for file in files]
    for process in processes:
        _, said = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"a job ended with status {process.returncode}: {_last_line(said)}")
    for number, file in enumerate(files, 1):
        yield _same(f"two jobs at once: job {number}", job.read_rows(file), roomy, "")


def _killed(device: str, folder: Path) -> Iterator[Line]:
    free = _free(device)
    process = _start("repeat", device, folder / "killed.pt")
    assert process.stdout is not None
    if process.stdout.readline().strip() != job.RUNNING:
        raise RuntimeError(f"the job ended before it was killed: {_last_line(process.communicate()[1])}")
    while_running = _free(device)
    process.kill()
    process.communicate()
    yield {
        "kind": "event",
        "case": "a killed job leaves no part of its file",
        "detail": f"status {process.returncode}",
        "holds": not any(folder.glob("*killed.pt*")),
    }
    if free is not None and while_running is not None:
        after, waited = _given_back(device, free)
        detail = f"free before {_gb(free)}, while it ran {_gb(while_running)}, {waited:.1f} s after {_gb(after)}"
        # That it held memory at all shows that there was something to give back.
        holds = free - while_running > _SLACK_BYTES and after >= free - _SLACK_BYTES
        yield {"kind": "event", "case": "a killed job leaves the device free", "detail": detail, "holds": holds}


def _given_back(device: str, free: int) -> tuple[int, float]:
    """Return the free memory once it is what it was, or after some seconds, and how long that took."""
    start = time.monotonic()
    while True:
        after, waited = _free(device) or 0, time.monotonic() - start
        if after >= free - _SLACK_BYTES or waited > _SECONDS_TO_GIVE_BACK:
            return after, waited


def _free(device: str) -> int | None:
    """Return the GPU's free memory as a fresh process sees it; None on a CPU."""
    if device != "cuda":
        return None
    command = (sys.executable, "-m", gpu.__name__)
    return int(subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout)


def _start(command: str, device: str, file: Path) -> subprocess.Popen[str]:
    arguments = (sys.executable, "-m", job.__name__, command, device, str(file))
    return subprocess.Popen(arguments, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _same(case: str, found: Rows, roomy: Rows, detail: str, went_on: bool = True) -> Line:
    compared = agreement(found, roomy, EXACT.lead)
    return {
        "kind": "event", "case": case, "detail": detail, **compared.as_line(),
        "holds": went_on and compared.within(EXACT),
    }  # fmt: skip


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2f} GB"


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
