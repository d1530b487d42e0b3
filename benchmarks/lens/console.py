"""What the programs of the benchmark have in common on the command line."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.lens.compare import DisagreementError
from benchmarks.lens.protocol import WorkerError
from lenscore.errors import LenscoreError


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments on what is run on what."""
    parser.add_argument(
        "--model",
        type=lambda path: Path(path).resolve(),
        default=Path("resources/models/smollm2-135m-54c0cfce").resolve(),
        help="folder of a Llama-like model",
    )
    parser.add_argument("--dataset", type=Path, help="a file of questions; by default the project's own")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="by default as many as there are cores")


def print_lines(lines: Iterable[dict[str, Any]]) -> int:
    """Print lines as they come; return the exit status."""
    try:
        for line in lines:
            print(json.dumps(line), flush=True)
    except (DisagreementError, WorkerError, LenscoreError, subprocess.CalledProcessError) as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    return 0


def say(line: str) -> None:
    """Report progress."""
    print(line, file=sys.stderr, flush=True)
