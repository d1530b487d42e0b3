"""Two checkouts whose resources/ is one folder: both studies are made, whichever comes first."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lenscore.jobs import claims
from lenscore.jobs.claims import claim
from lenscore.plan.code_versions import CodeVersions
from lenscore.plan.plan import Plan
from lenscore.sources.contents import SourceContents
from lenscore.study.study import read_study
from tests.conftest import ROOT, Checkout, copy_project

CLAIMING = (
    "import sys; from pathlib import Path; from lenscore.jobs import claims\n"
    "claims._BETWEEN_LOOKS = 0.05\n"
    "held = claims.claim([Path(name) for name in sys.argv[2:]], Path(sys.argv[1]))\n"
    "print(len(held), flush=True); sys.stdin.readline()\n"
)


def claiming(checkout: Path, folder: Path, *targets: Path) -> subprocess.Popen[str]:
    checkout.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", CLAIMING, str(folder), *map(str, targets)],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_what_another_workflow_fetches_is_waited_for(tmp_path: Path) -> None:
    model, dataset, folder = tmp_path / "model.json", tmp_path / "dataset.json", tmp_path / "claims"
    first = claiming(tmp_path / "a", folder, model)
    assert said(first) == "1"
    second = claiming(tmp_path / "b", folder, model, dataset)
    time.sleep(0.5)
    assert second.poll() is None
    model.write_text("{}")
    assert said(second) == "1"  # of the dataset alone
    first.communicate("\n", timeout=60)
    _, messages = second.communicate("\n", timeout=60)
    assert messages == f"{model}: another workflow fetches it; waiting until it is there\n"


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    model, folder = tmp_path / "model.json", tmp_path / "claims"
    first = claiming(tmp_path / "a", folder, model)
    assert said(first) == "1"
    second = claiming(tmp_path / "b", folder, model)
    first.kill()
    first.wait()
    assert said(second) == "1"
    second.communicate("\n", timeout=60)


def test_a_second_workflow_in_the_same_folder_is_left_to_snakemake(tmp_path: Path) -> None:
    model, folder = tmp_path / "model.json", tmp_path / "claims"
    first = claiming(tmp_path / "a", folder, model)
    assert said(first) == "1"
    second = claiming(tmp_path / "a", folder, model)
    assert said(second) == "0"
    for process in (first, second):
        process.communicate("\n", timeout=60)


def test_where_nothing_is_missing_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text("{}")
    assert claim([tmp_path / "model.json"], tmp_path / "claims") == []
    assert not (tmp_path / "claims").exists()


def test_a_file_system_without_locks_needs_no_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(descriptor: int, operation: int) -> None:
        raise OSError(claims.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(claims.fcntl, "flock", none)
    assert claim([tmp_path / "model.json"], tmp_path / "claims") == []


# What does no jobs, or none that fetches: in one process, as Snakemake takes seconds to be imported.
ASIDE = ("--dry-run", "--summary", "--rulegraph", "--dag", "--unlock", "--touch", "--list-rules", "--lint", "verify")
ONE_AFTER_THE_OTHER = (
    "import sys\nfrom snakemake.cli import main\n"
    "for word in sys.argv[1:]:\n"
    "    try:\n        main([word, '--cores', '1', '--configfile', 'study.yaml'])\n"
    "    except SystemExit:\n        print('ended', word, file=sys.stderr)\n"
)


@pytest.mark.slow
def test_what_fetches_nothing_claims_nothing_and_waits_for_nobody(tmp_path: Path, config: dict[str, Any]) -> None:
    checkout = copy_project(tmp_path)
    checkout.write_config(config)
    plan = Plan(read_study(config), CodeVersions(ROOT), SourceContents(tmp_path / "contents.json"))
    claimed = tmp_path / "resources/.claims"
    other = claiming(tmp_path / "other", claimed, *(tmp_path / target for target in plan.fetched))
    assert said(other) == "2"
    held = {file: file.read_bytes() for file in claimed.iterdir()}
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER, *ASIDE],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if line.startswith("ended")] == [f"ended {w}" for w in ASIDE]
    assert "another workflow fetches it" not in done.stderr
    other.communicate("\n", timeout=60)
    assert {file: file.read_bytes() for file in claimed.iterdir()} == held


@pytest.mark.slow
def test_two_workflows_that_share_resources_both_succeed(tmp_path: Path, config: dict[str, Any]) -> None:
    (tmp_path / "resources").mkdir()
    running = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        checkout = copy_project(tmp_path / name)
        (checkout.folder / "resources").symlink_to(tmp_path / "resources")
        checkout.write_config({**config, "study": name, "questions": 2, "lenses": ["logit"]}, "study.yaml")
        target = f"results/{name}/records/tiny/main/shard-0000.parquet"
        running.append(start(checkout, target))
    for process, name in zip(running, ("a", "b"), strict=True):
        messages, _ = process.communicate(timeout=600)
        assert process.returncode == 0, messages
        assert (tmp_path / name / f"results/{name}/records/tiny/main/shard-0000.parquet").exists()
    logs = sorted(path.parent.parent.parent.name for path in tmp_path.glob("*/logs/fetch_model/*.log"))
    assert len(logs) == 1  # it was fetched once
    assert not list((tmp_path / "resources").rglob(".part-*"))


def start(checkout: Checkout, target: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "study.yaml", "--", target],
        cwd=checkout.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
