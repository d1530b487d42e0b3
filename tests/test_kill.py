"""The workflow is killed at any instant, again and again, and goes on to the same end as an undisturbed run.

`make soak` kills it a hundred times, spread over the rules; `make test` ends it four times, by each signal.
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from tests.conftest import Checkout, copy_project
from tests.same_study import hashes_of_database, hashes_of_study

pytestmark = pytest.mark.slow

BETWEEN = "between jobs"
DATABASE = "results/tiny/tiny.duckdb"
RECORDS = "results/tiny/records/tiny/main/shard-0000.parquet"
KILLS = int(os.environ.get("KILLS", "100"))
# The folders of what two rules make.
MAKES = {"ablate_shard": "ablation", "extract_shard": "records"}
# In the order in which their jobs run.
RULES = (
    "fetch_dataset", "fetch_model", "build_contexts", "train_lens", "reference_means", "ablate_shard",
    "extract_shard", "load_database", "analyse", "choose_examples", "render_charts", "render_report",
)  # fmt: skip


class Run:
    """The workflow, started in a session of its own, so that all of it can be killed at once."""

    def __init__(self, checkout: Checkout, *targets: str):
        # In a file: a pipe that nobody reads would hold it up.
        self.said = checkout.folder / f"said-{time.monotonic_ns()}.txt"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "study.yaml", "--", *targets],
            cwd=checkout.folder,
            stdout=self.said.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def jobs(self) -> set[str]:
        """Return the rules whose jobs run now."""
        found = set()
        try:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                script = next((word for word in child.cmdline() if "/.snakemake/scripts/tmp" in word), None)
                if script:
                    found.add(Path(script).name.split(".")[1])
        except psutil.Error:
            return set()  # it has just ended
        return found

    def signal(self, number: signal.Signals) -> None:
        """Signal every process of the workflow."""
        os.killpg(self.process.pid, number)

    def ended(self) -> tuple[int, str]:
        """Wait for the end, and return the status and what was said."""
        return self.process.wait(timeout=300), self.said.read_text(encoding="utf-8")


def left_of_session(leader: int) -> list[str]:
    """Return the commands of a session's processes that are alive, some time after they should have ended."""
    for _ in range(100):
        alive = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                    alive.append(" ".join(process.cmdline()))
            except (psutil.Error, ProcessLookupError):
                continue
        if not alive:
            return []
        time.sleep(0.1)
    return alive


@pytest.fixture(scope="module")
def study(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "study": "tiny"}


@pytest.fixture(scope="module")
def undisturbed(finished: Checkout) -> dict[str, str]:
    return hashes_of_study(finished.folder / "results/tiny", "tiny")


@pytest.fixture
def place(tmp_path: Path, study: dict[str, Any]) -> Iterator[Checkout]:
    checkout = copy_project(tmp_path)
    checkout.write_config(study, "study.yaml")
    yield checkout
    shutil.rmtree(tmp_path)


def resumable(checkout: Checkout) -> None:
    """Take away the lock that a killed run leaves, as its message says."""
    done = checkout.snakemake("--configfile", "study.yaml", "--unlock")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.soak
def test_killed_anywhere_it_goes_on_to_the_same_end(place: Checkout, undisturbed: dict[str, str]) -> None:
    draw = random.Random(0)
    hits: Counter[str] = Counter()
    kills = rounds = turn = 0
    while kills < KILLS or turn:
        # In each round a rule after the other is killed while a job of it runs, those first that were hit least; or a
        # later rule, if that one has done all of its own.
        left = RULES[turn:] if kills < KILLS else ()
        due = left[left.index(min(left, key=hits.__getitem__)) :] if left else ()
        run, instant = Run(place), draw.uniform(0, 1.2)
        while run.process.poll() is None and not set(due) & run.jobs():
            time.sleep(0.02)
        if due and run.process.poll() is None:
            time.sleep(instant)
        hit = run.jobs()
        if due and run.process.poll() is None:
            run.signal(signal.SIGKILL)
            run.ended()
            assert left_of_session(run.process.pid) == []
            resumable(place)
            kills += 1
            hits.update(hit or [BETWEEN])
            turn = max([turn, *(RULES.index(rule) for rule in hit)]) + 1
            continue
        status, said = run.ended()
        assert status == 0, said
        assert hashes_of_study(place.folder / "results/tiny", "tiny") == undisturbed
        assert not list(place.folder.rglob(".part-*"))
        turn, rounds = 0, rounds + 1
        if kills < KILLS:
            for made in ("results", "resources", "logs"):
                shutil.rmtree(place.folder / made)
    print(f"{kills} kills in {rounds} rounds; rules hit: {dict(hits)}")
    # A job that takes a moment may be over when the kill comes: then it comes between jobs.
    assert set(hits) - {BETWEEN} <= set(RULES)
    assert hits[BETWEEN] <= kills / 2
    assert len(set(hits) - {BETWEEN}) >= (len(RULES) if kills >= 100 else min(kills, 3))


def test_ended_by_any_signal_it_leaves_no_process_and_goes_on_to_the_same_end(
    place: Checkout, undisturbed: dict[str, str]
) -> None:
    """At rules of all kinds. Unless it is killed, it lets go of the folder itself and leaves nothing half-written."""
    for sent, to, rule in (
        (signal.SIGINT, "all", "fetch_model"),
        (signal.SIGKILL, "all", "train_lens"),
        (signal.SIGTERM, "Snakemake", "ablate_shard"),
        (signal.SIGTERM, "all", "extract_shard"),
    ):
        # Jobs of a rule may have been done beside those that were ended: they are to do again.
        for made in place.folder.glob(f"results/tiny/{MAKES.get(rule, 'nothing')}/**/shard-*.parquet"):
            made.unlink()
        run = Run(place, DATABASE)
        while rule not in run.jobs():
            assert run.process.poll() is None, rule
            time.sleep(0.02)
        if to == "all":
            run.signal(sent)
        else:
            run.process.send_signal(sent)
        status, said = run.ended()
        assert status != 0
        assert "rule load_database:" not in said
        assert left_of_session(run.process.pid) == []
        if sent == signal.SIGKILL:
            resumable(place)
        else:
            assert not list(place.folder.rglob(".part-*"))
    status, said = Run(place, DATABASE).ended()
    assert status == 0, said
    assert not list(place.folder.rglob(".part-*"))
    assert hashes_of_database(place.folder / DATABASE).items() <= undisturbed.items()


def test_a_second_workflow_in_the_folder_is_refused_and_disturbs_nothing(
    place: Checkout, undisturbed: dict[str, str]
) -> None:
    first = Run(place, RECORDS)
    while not first.jobs():
        assert first.process.poll() is None
        time.sleep(0.02)
    status, said = Run(place, RECORDS).ended()
    assert status != 0
    assert "Directory cannot be locked" in said
    assert "no other Snakemake process" in said
    status, said = first.ended()
    assert status == 0, said
    made = hashlib.sha256((place.folder / RECORDS).read_bytes()).hexdigest()
    assert made == undisturbed[RECORDS.removeprefix("results/tiny/")]


@pytest.fixture
def small_disk(tmp_path: Path, study: dict[str, Any]) -> Iterator[Checkout]:
    """A checkout on a disk of its own, on which all finds room but the database."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    checkout = copy_project(folder)
    checkout.write_config(study, "study.yaml")
    resize(folder, shutil.disk_usage(folder).used // 1000 + 1500)
    yield checkout
    subprocess.run(["umount", str(folder)], check=True)


def resize(disk: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(disk)], check=True)


def test_a_full_disk_is_a_clear_error_and_the_run_goes_on_when_there_is_room(
    small_disk: Checkout, undisturbed: dict[str, str]
) -> None:
    status, said = Run(small_disk, DATABASE).ended()
    assert status != 0
    log = (small_disk.folder / "logs/tiny/load_database.log").read_text()
    assert "No space left on device" in log
    assert "Make room and start the workflow again" in log
    assert "Traceback" not in log
    assert log.splitlines()[-1] in said
    assert not list(small_disk.folder.rglob(".part-*"))
    assert not (small_disk.folder / DATABASE).exists()
    resize(small_disk.folder, 100_000)
    status, said = Run(small_disk, DATABASE).ended()
    assert status == 0, said
    assert "rule extract_shard:" not in said
    assert hashes_of_database(small_disk.folder / DATABASE).items() <= undisturbed.items()


def test_a_changed_study_whose_extraction_is_ended_extracts_anew(place: Checkout, study: dict[str, Any]) -> None:
    """Records of before the change must not pass for those of after it, however the job between them has ended."""
    status, said = Run(place, RECORDS).ended()
    assert status == 0, said
    place.write_config({**study, "seed": 1, "extraction": {"top_k": 3}}, "study.yaml")
    run = Run(place, RECORDS)
    while "extract_shard" not in run.jobs():
        assert run.process.poll() is None
        time.sleep(0.02)
    run.signal(signal.SIGTERM)
    status, _ = run.ended()
    assert status != 0
    status, said = Run(place, RECORDS).ended()
    assert status == 0, said
    found = pq.read_table(place.folder / RECORDS)
    assert {len(ids) for ids in found["topk_ids"].to_pylist()} == {3}
    contexts = pq.read_table(place.folder / "results/tiny/contexts/main/shard-0000.parquet")
    assert set(found["context_id"].to_pylist()) == set(contexts["context_id"].to_pylist())
