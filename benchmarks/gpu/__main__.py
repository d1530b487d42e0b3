"""Check on a GPU all that this project does there, and measure how fast it is, in eight minutes.

Writes gpu-check.json and gpu-check.md. The exit status is 1 where a result differs from what it should be, or a part
crashed. On a machine without a GPU the check checks itself, on the CPU, in seconds, and proves nothing about a GPU.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.gpu.plan import PARTS, TOTAL_SECONDS, Part, Setting
from benchmarks.gpu.report import NO_GPU, Check, verdict, write_report
from benchmarks.gpu.runner import CHECKOUT, Outcome, run_parts
from benchmarks.gpu.wheels import missing_modules, unpack


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    started = time.monotonic()
    signal.signal(signal.SIGTERM, _end)  # so that the part that runs is ended too
    arguments = _parser().parse_args()
    device = arguments.device or _device()
    setting = Setting(device, None if arguments.model is None else str(arguments.model.resolve()))
    parts = [part for part in PARTS if _is_wanted(part, device, arguments.only)]
    with TemporaryDirectory() as unpacked:
        try:
            wheels = unpack(missing_modules(), Path(unpacked))
        except FileNotFoundError as error:
            print(error, file=sys.stderr)
            return 1
        check = Check(device, datetime.now(UTC).isoformat(" ", "seconds"), arguments.budget, wheels)

        def after_each(outcomes: Sequence[Outcome]) -> None:
            write_report(arguments.out, check, outcomes, time.monotonic() - started)
            last = outcomes[-1]
            failed = f", FAILED{f': {last.error}' if last.error else ''}" if last.failed else ""
            print(f"{last.part}: {last.status} after {last.seconds:.1f} s{failed}", file=sys.stderr, flush=True)

        outcomes = run_parts(parts, setting, arguments.budget, _environment(unpacked), after_each, started)
    print(f"{verdict(outcomes)} {arguments.out / 'gpu-check.md'}")
    if device != "cuda":
        print(NO_GPU)
    return int(any(outcome.failed for outcome in outcomes))


def _is_wanted(part: Part, device: str, only: Sequence[str] | None) -> bool:
    return part.name in only if only else device == "cuda" or part.on_cpu


def _device() -> str:
    # Not asked of PyTorch: to import it may take half a minute on a machine that has just started, and each part does.
    if shutil.which("nvidia-smi") is None:
        return "cpu"
    return "cuda" if subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=False).stdout.strip() else "cpu"


def _environment(unpacked: str) -> dict[str, str]:
    paths = (str(CHECKOUT), unpacked, os.environ.get("PYTHONPATH", ""))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "HF_HUB_OFFLINE": "1",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # a kernel at a time: a pool of compilers takes longer to start
        # A bug of the project must not pass for a model whose contexts cannot share their prefixes.
        "LENSCORE_ON_SHARING_ERROR": "raise",
    }


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _parser() -> argparse.ArgumentParser:
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=CHECKOUT / ".bench/gpu-check", help="folder of the results")
    parser.add_argument("--device", choices=["cuda", "cpu"], help="by default cuda where there is a GPU")
    parser.add_argument(
        "--budget", type=float, default=TOTAL_SECONDS, help=f"seconds for the whole (default: {TOTAL_SECONDS})"
    )
    parser.add_argument("--only", nargs="+", choices=names, metavar="PART", help=" | ".join(names))
    parser.add_argument("--model", type=Path, help="folder of a real model for the records, one like Llama")
    return parser


if __name__ == "__main__":
    sys.exit(main())
