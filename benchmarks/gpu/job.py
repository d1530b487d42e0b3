"""A small extraction in a process of its own: what the part on memory starts, starts twice, and kills.

The first argument says what to do:

- ``extract``: run the lens over the contexts, and write the rows to a file;
- ``repeat``: the same, but say ``running`` after the first run, and run on until killed.

Device and file are the other arguments.
"""

import sys
from pathlib import Path

import torch

from benchmarks.gpu.contexts import Questions, made_questions
from benchmarks.gpu.engines import checked_run, logit_rows
from benchmarks.gpu.rows import Rows
from benchmarks.gpu.shapes import config_of, random_model
from lenscore.extraction.checked_run import CheckedRun
from lenscore.files import written_whole

RUNNING = "running"


def prepared(device: str) -> tuple[CheckedRun, Questions]:
    """Return the model and the contexts of the job, the same in every process."""
    config = config_of("wide", small=device == "cpu")
    questions = made_questions(2, 20, 5, config.vocab_size, small=device == "cpu")
    return checked_run(random_model(config, torch.float32, device)), questions


def write_rows(rows: Rows, file: Path) -> None:
    """Write rows, whole or not at all."""
    with written_whole(file) as beside:
        torch.save({name: getattr(rows, name) for name in ("top_ids", "top_logprobs", "target_logprob")}, beside)


def read_rows(file: Path) -> Rows:
    """Read what :func:`write_rows` wrote."""
    return Rows(**torch.load(file, weights_only=True))


def main() -> None:
    """Do what the command line says."""
    command, device, file = sys.argv[1:]
    run, questions = prepared(device)
    rows = logit_rows(run, questions)
    while command == "repeat":
        print(RUNNING, flush=True)
        rows = logit_rows(run, questions)
    write_rows(rows, Path(file))


if __name__ == "__main__":
    main()
