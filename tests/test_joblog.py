"""The log of a job, and the scripts that keep one, run by Snakemake as the workflow runs them."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from lenscore.errors import SourceError
from lenscore.jobs.log import job_log, printable
from lenscore.plan.job import Files
from lenscore.plan.rules.fetch_dataset import FetchDatasetJob, FetchDatasetOutputs
from lenscore.plan.rules.fetch_model import FetchModelJob, FetchModelOutputs
from lenscore.study.dataset import DatasetSpec
from lenscore.study.models import ModelSpec
from tests.helpers_sources import save_tiny_gpt2

ROOT = Path(__file__).parent.parent


def test_messages_and_warnings_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "logs" / "job.log"
    handlers = list(logging.getLogger().handlers)
    with job_log(log):
        logging.getLogger("lenscore.sources").info("ours")
        logging.getLogger("httpx2").info("a request")
        logging.getLogger("other").warning("theirs")
        warnings.warn("careful", stacklevel=1)
    for text in (log.read_text(), capsys.readouterr().err):
        assert "ours" in text
        assert "theirs" in text
        assert "careful" in text
        assert "a request" not in text
    assert logging.getLogger().handlers == handlers


def test_user_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised, job_log(tmp_path / "job.log"):
        raise SourceError("no such file")
    assert raised.value.code == 1
    (line,) = (tmp_path / "job.log").read_text().splitlines()
    assert line.endswith("no such file")
    assert "no such file" in capsys.readouterr().err


def test_bug_is_told_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as raised, job_log(tmp_path / "job.log"):
        {}["key"]
    assert raised.value.code == 1
    text = (tmp_path / "job.log").read_text()
    assert "Traceback" in text
    assert "KeyError: 'key'" in text


def test_log_of_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text("earlier")
    with job_log(tmp_path / "job.log"):
        pass
    assert (tmp_path / "job.log").read_text() == ""


def test_what_a_library_says_below_a_warning_is_not_shown(tmp_path: Path) -> None:
    loud = logging.getLogger("loud")
    loud.setLevel(logging.DEBUG)  # as some do when they are imported
    with job_log(tmp_path / "job.log"):
        loud.debug("noise")
        loud.warning("to be heeded")
    assert (tmp_path / "job.log").read_text().endswith(" WARNING loud: to be heeded\n")
    assert "noise" not in (tmp_path / "job.log").read_text()


def test_a_log_on_a_full_disk_is_said_on_the_screen_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with job_log("/dev/full"):
        logging.getLogger("lenscore").info("half done")
    assert capsys.readouterr().err.endswith(" INFO lenscore: half done\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred\x07", "a\\x1b[31mred\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("one\rtwo\tthree", "one\\rtwo\tthree"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("Größe, 大阪, עִבְרִית", "Größe, 大阪, עִבְרִית"),
        (
            "https://me:pa55word@example.org/a and git://you@example.org",
            "https://…@example.org/a and git://…@example.org",
        ),
        ("https://example.org/a@b, mail to me@example.org", "https://example.org/a@b, mail to me@example.org"),
    ],
)
def test_what_was_found_reaches_no_terminal_raw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, shown: str
) -> None:
    with job_log(tmp_path / "log"):
        logging.getLogger("lenscore").info("found %s", text)
    for said in (capsys.readouterr().err, (tmp_path / "log").read_text(encoding="utf-8")):
        assert said.endswith(f" INFO lenscore: found {shown}\n")


def test_half_a_character_is_shown_by_its_number() -> None:
    """Not through the log: what a test logs, the processes that share the tests send one another."""
    assert printable("half \ud83d of an emoji \U0001f600") == "half \\ud83d of an emoji \U0001f600"


SNAKEFILE = """
rule all:
    input:
        "resources/models/tiny",
        "resources/datasets/own/manifest.json",


rule fetch_model:
    output:
        folder=directory("resources/models/tiny"),
        hashes="resources/hashes/model.json",
    log:
        "logs/model.log",
    params:
        job={model},
    script:
        "{root}/workflow_scripts/fetch_model.py"


rule fetch_dataset:
    output:
        questions="resources/datasets/own/questions.parquet",
        manifest="resources/datasets/own/manifest.json",
        hashes="resources/hashes/dataset.json",
    log:
        "logs/dataset.log",
    params:
        job={dataset},
    script:
        "{root}/workflow_scripts/fetch_dataset.py"
"""
MODEL = FetchModelJob(
    inputs=Files(), model="tiny",
    outputs=FetchModelOutputs(folder=Path("resources/models/tiny"), hashes=Path("resources/hashes/model.json")),
    source=ModelSpec(source="path:gpt2"), contents={}, seed=None,
)  # fmt: skip
DATASET = FetchDatasetJob(
    inputs=Files(),
    outputs=FetchDatasetOutputs(
        manifest=Path("resources/datasets/own/manifest.json"),
        questions=Path("resources/datasets/own/questions.parquet"),
        hashes=Path("resources/hashes/dataset.json"),
    ),
    source=DatasetSpec(source="path:own.jsonl"), contents={},
)  # fmt: skip


def snakemake(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--keep-going"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_scripts_run_under_snakemake(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(
        SNAKEFILE.format(root=ROOT, model=MODEL.model_dump(mode="json"), dataset=DATASET.model_dump(mode="json"))
    )
    save_tiny_gpt2(tmp_path / "gpt2")
    row = {"question": "which colour has a ripe lemon", "answers": ["yellow"], "text": "A ripe lemon is yellow."}
    (tmp_path / "own.jsonl").write_text(json.dumps(row) + "\n{}\n")

    failed = snakemake(tmp_path)
    assert failed.returncode != 0
    (line,) = (tmp_path / "logs" / "dataset.log").read_text().splitlines()
    assert "own.jsonl, line 2: not a row of format questions" in line
    assert line.split(" ERROR ")[1] in failed.stderr
    model = json.loads((tmp_path / "resources" / "models" / "tiny" / "manifest.json").read_bytes())
    assert "model.safetensors" in model["files"]

    (tmp_path / "own.jsonl").write_text(json.dumps(row))
    done = snakemake(tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "resources" / "datasets" / "own" / "manifest.json").read_bytes())["questions"] == 1
    assert "fetch_model" not in done.stderr


WRITES = """
import sys, time
from pathlib import Path
from lenscore.files import written_whole
from lenscore.jobs.log import job_log, printable

with job_log("job.log"), written_whole(Path("table")) as beside:
    beside.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_job_that_is_told_to_end_leaves_nothing_half_written(tmp_path: Path, sent: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITES], cwd=tmp_path, stdout=subprocess.PIPE) as job:
        assert job.stdout is not None
        job.stdout.readline()
        assert list(tmp_path.glob(".part-*"))
        job.send_signal(sent)
        assert job.wait(30) != 0
    assert [path.name for path in tmp_path.iterdir()] == ["job.log"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "results/table.parquet"),
                                   RuntimeError("IO Error: could not write: No space left on device")])  # fmt: skip
def test_a_full_disk_is_one_line_that_says_what_to_do(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(SystemExit) as raised, job_log(tmp_path / "job.log"):
        raise error
    assert raised.value.code == 1
    (line,) = (tmp_path / "job.log").read_text().splitlines()
    assert "No space left on device" in line
    assert line.endswith("Make room and start the workflow again: it goes on where it was")
