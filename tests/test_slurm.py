"""A whole study through a real Slurm: the same rows as here; more memory after a kill; what fails says where."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pyarrow.parquet as pq
import pytest

from tests import slurm_cluster
from tests.conftest import ROOT, Checkout, copy_project

MISSING = slurm_cluster.missing()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.cluster,
    # Where a Slurm must be startable (NEEDS_SLURM, as in .ci/run), that it is not is an error and no skip.
    pytest.mark.skipif(bool(MISSING) and "NEEDS_SLURM" not in os.environ, reason=MISSING or "there is a Slurm"),
]

# What a site sets, too: how jobs are watched. It is quick here, where a job lasts seconds. There is no accounting.
WATCH = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "20"]
SLURM = ["--profile", "profiles/slurm", "--default-resources", "slurm_partition=debug", *WATCH]
SBATCH = ["--profile", "profiles/sbatch", "--seconds-between-status-checks", "2", "--latency-wait", "20"]
SHARD = "results/tiny/records/tiny/main/shard-0000.parquet"
# Less than a job that runs a model needs, but twice as much is enough.
TOO_LITTLE = 400


@dataclass(frozen=True)
class Job:
    """A job as Slurm remembers it."""

    id: str
    state: str
    memory: str
    minutes: str
    cores: int
    gpus: int
    comment: str


def jobs_of_slurm(said: str, submitted: str = r"submitted with SLURM jobid (\d+)") -> list[Job]:
    """Return the jobs that Snakemake said it submitted, in their order."""
    ids = re.findall(submitted, said)
    assert ids, said
    jobs = []
    for name in ids:
        squeue = ["squeue", "-h", "-t", "all", "-j", name, "-o", "%T|%m|%l|%C|%k"]
        state, memory, minutes, cores, comment = subprocess.check_output(squeue, text=True).strip().split("|")
        shown = subprocess.check_output(["scontrol", "show", "job", name], text=True)
        gpus = re.search(r"TresPerJob=gres:gpu:(\d+)", shown)
        jobs.append(Job(name, state, memory, minutes, int(cores), int(gpus[1]) if gpus else 0, comment))
    return jobs


@dataclass(frozen=True)
class Run:
    """A run of Snakemake in a checkout of its own, which goes on while the test does other things."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def said(self) -> str:
        return (self.folder / "said.txt").read_text(encoding="utf-8")


def begin(folder: Path, *arguments: str) -> Run:
    command = [sys.executable, "-m", "snakemake", *arguments, "--configfile", "study.yaml"]
    with (folder / "said.txt").open("w") as said:
        return Run(folder, subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT))


@pytest.fixture(scope="module")
def slurm() -> Iterator[Path]:
    assert not MISSING, MISSING
    with slurm_cluster.slurm_cluster() as folder:
        yield folder


@pytest.fixture(scope="module")
def runs(slurm: Path, tmp_path_factory: pytest.TempPathFactory, config: dict[str, Any]) -> Iterator[dict[str, Run]]:
    """All runs, begun at once: most of the time, a run through a scheduler waits for it.

    `there`: the study of `finished`, through profiles/slurm; its extraction asks for too little memory at first.
    `generic`: the same, but one shard through the file of profiles/lsf as it is, with sbatch and scontrol in the
    place of LSF's commands. `wrong`: a study that wants a GPU, and whose documents do not hold the answers; the
    jobs of it that need no other.
    """
    folders = {name: tmp_path_factory.mktemp(name) for name in ("there", "generic", "wrong")}
    for folder in folders.values():
        copy_project(folder).write_config(config)
    for name in ("there", "generic"):
        rule = folders[name] / "rules/extract.smk"
        text = rule.read_text()
        assert "mem_mb=grows(4000)" in text
        rule.write_text(text.replace("mem_mb=grows(4000)", f"mem_mb=grows({TOO_LITTLE})"))
    put_sbatch_profile(folders["generic"] / "profiles/sbatch")
    put_wrong_study(Checkout(folders["wrong"]), config)
    contexts, lens = "results/wrong/contexts/main/shard-0000.parquet", "results/wrong/lenses/tiny/tuned.safetensors"
    with ExitStack() as stack:
        begun = {
            "there": begin(folders["there"], *SLURM),
            "generic": begin(folders["generic"], SHARD, *SBATCH),
            "wrong": begin(folders["wrong"], contexts, lens, *SLURM, "--retries", "0"),
        }
        for run in begun.values():
            stack.callback(run.process.wait)
            stack.callback(run.process.terminate)
        for name, run in begun.items():
            assert run.process.wait(timeout=600) == (name == "wrong"), run.said
        yield begun


def put_sbatch_profile(folder: Path) -> None:
    shutil.copytree(ROOT / "tests/sbatch", folder)
    text = (ROOT / "profiles/lsf/profile.yaml").read_text()
    (folder / "profile.yaml").write_text(text.replace("profiles/lsf", "profiles/sbatch").replace("bkill", "scancel"))


def put_wrong_study(checkout: Checkout, config: dict[str, Any]) -> None:
    rows = map(json.loads, (ROOT / "lenscore/data/questions.jsonl").read_text(encoding="utf-8").splitlines())
    lines = [json.dumps({**row, "answers": ["no such words"]}) for row in rows]
    (checkout.folder / "wrong.jsonl").write_text("\n".join(lines))
    dataset = {"source": "path:wrong.jsonl"}
    checkout.write_config({**config, "study": "wrong", "dataset": dataset, "extraction": {"device": "cuda"}})


def daemons(folder: Path) -> list[psutil.Process]:
    """Return the processes of the Slurm whose files lie in a folder."""
    return [process for process in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(process.info["cmdline"])]


def test_a_killed_run_leaves_no_daemon_and_nothing_in_the_way_of_the_next() -> None:
    assert not MISSING, MISSING
    command = [sys.executable, "-m", "tests.slurm_cluster", "sh", "-c", "echo up; exec cat"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "up\n"
        folder = slurm_cluster.CONF.readlink().parent
        left = daemons(folder)
        assert len(left) == 4
        killed.kill()
    _, alive = psutil.wait_procs(left, timeout=20)
    assert alive == []
    with slurm_cluster.slurm_cluster() as again:
        assert again != folder
    assert not os.path.lexists(slurm_cluster.CONF)
    shutil.rmtree(folder)


def test_another_cluster_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not MISSING, MISSING
    conf = tmp_path / "slurm.conf"
    conf.write_text("ClusterName=production\n")
    monkeypatch.setattr(slurm_cluster, "CONF", conf)
    with pytest.raises(RuntimeError, match="belongs to another cluster"), slurm_cluster.slurm_cluster():
        pass
    assert conf.read_text() == "ClusterName=production\n"


def test_it_listens_on_loopback_alone(slurm: Path) -> None:
    with subprocess.Popen(["srun", "sleep", "3"]) as step:
        time.sleep(1.5)
        ours = {step.pid, *(process.pid for process in daemons(slurm))}
        listens = [at for at in psutil.net_connections("inet") if at.pid in ours and at.status != "ESTABLISHED"]
        addresses = {at.laddr.ip for at in listens if at.status == "LISTEN" or at.type == socket.SOCK_DGRAM}
    assert step.returncode == 0
    assert addresses == {"127.0.0.1"}


def test_the_database_has_the_same_rows(runs: dict[str, Run], finished: Checkout) -> None:
    """Nothing is left out: not a table, not a view, not a column."""
    with duckdb.connect() as both:
        for name, folder in (("here", finished.folder), ("there", runs["there"].folder)):
            both.execute(f"attach '{folder}/results/tiny/tiny.duckdb' as {name} (read_only)")
        tables = {name: set() for name in ("here", "there")}
        for name, table in both.execute("select table_catalog, table_name from information_schema.tables").fetchall():
            tables[name].add(table)
        assert tables["here"] == tables["there"]
        assert len(tables["here"]) > 20
        for table in tables["here"]:
            for one, other in (("here", "there"), ("there", "here")):
                assert both.execute(f"from {one}.{table} except all from {other}.{table}").fetchall() == [], table
        empty = {table for table in tables["here"] if not both.execute(f"from here.{table} limit 1").fetchall()}
    # A random model gets no token right, so that no layer is the first that does.
    assert empty <= {
        "left_out_questions", "answers_in_distractors", "essential_layers", "layer_rises", "question_layer_rises",
        "token_rises",
    }  # fmt: skip


def test_every_job_but_the_downloads_went_through_slurm_and_small_ones_together(runs: dict[str, Run]) -> None:
    jobs = Counter(job.comment for job in jobs_of_slurm(runs["there"].said))
    report = "_".join(sorted(["load_database", "analyse", "choose_examples", "render_charts", "render_report"]))
    assert jobs == {
        "rule_estimate_study_wildcards_tiny": 1,
        "rule_train_lens_wildcards_tiny_tiny_tuned": 1,
        "rule_reference_means_wildcards_tiny_tiny_main": 1,
        "rule_contexts_build_contexts": 1,
        "rule_extract_shard_wildcards_tiny_tiny_main_0000": 2,
        "rule_extract_shard_wildcards_tiny_tiny_main_0001": 2,
        "rule_ablate_shard_wildcards_tiny_tiny_main_0000": 1,
        f"rule_report_{report}": 1,
    }
    # Snakemake says of every job of a group that it is done: 2 + 1 + 2 of them.
    done = Counter(re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", runs["there"].said))
    assert done["render_charts"] == 1
    assert done["build_contexts"] == 2


def test_a_job_asks_for_what_its_rule_says(runs: dict[str, Run]) -> None:
    jobs = jobs_of_slurm(runs["there"].said)
    [train] = [job for job in jobs if "train_lens" in job.comment]
    assert (train.memory, train.minutes, train.cores, train.gpus) == ("6000M", "4:00:00", 1, 0)
    # Four charts are drawn beside one another, each with a core and 2000 MB.
    [report] = [job for job in jobs if "report" in job.comment]
    assert (report.memory, report.cores) == ("8000M", 4)


def test_a_job_killed_for_its_memory_is_tried_again_with_more(runs: dict[str, Run]) -> None:
    jobs = [job for job in jobs_of_slurm(runs["there"].said) if "extract" in job.comment]
    for shard in ("0000", "0001"):
        first, second = (job for job in jobs if job.comment.endswith(f"main_{shard}"))
        assert (first.state, first.memory) == ("FAILED", f"{TOO_LITTLE}M")
        assert (second.state, second.memory, second.minutes) == ("COMPLETED", f"{2 * TOO_LITTLE}M", "8:00:00")
        log = runs["there"].folder / f".snakemake/slurm_logs/rule_extract_shard/tiny_tiny_main_{shard}/{first.id}.log"
        assert "memory limit" in log.read_text()


def test_a_job_that_fails_says_why_and_where_its_logs_are(runs: dict[str, Run]) -> None:
    failed = runs["wrong"]
    [job] = [job for job in jobs_of_slurm(failed.said) if "build_contexts" in job.comment]
    assert job.state == "FAILED"
    assert "logs/wrong/build_contexts/main/0000.log (check log file(s) for error details)" in failed.said
    log = failed.folder / "logs/wrong/build_contexts/main/0000.log"
    assert "no such words" in log.read_text()
    [slurm_log] = (failed.folder / ".snakemake/slurm_logs").rglob(f"{job.id}.log")
    assert str(slurm_log) in failed.said
    assert list((failed.folder / "results/wrong/contexts").rglob("*.parquet")) == []


def test_a_gpu_is_asked_for_where_the_study_wants_one_and_only_for_a_model(runs: dict[str, Run]) -> None:
    assert {job.comment.split("_wildcards")[0]: job.gpus for job in jobs_of_slurm(runs["wrong"].said)} == {
        "rule_contexts_build_contexts": 0,
        "rule_train_lens": 1,
    }


def test_the_profile_of_other_schedulers_runs_on_a_real_one(runs: dict[str, Run], finished: Checkout) -> None:
    jobs = jobs_of_slurm(runs["generic"].said, r"Submitted (?:group )?job \S+ with external jobid '(\d+)'")
    assert Counter((job.state, job.memory) for job in jobs) == {
        ("COMPLETED", "6000M"): 1,
        ("COMPLETED", "2000M"): 1,
        ("FAILED", f"{TOO_LITTLE}M"): 1,
        ("COMPLETED", f"{2 * TOO_LITTLE}M"): 1,
    }
    rows = [pq.read_table(folder / SHARD) for folder in (finished.folder, runs["generic"].folder)]
    assert rows[0].num_rows > 0
    assert rows[0].equals(rows[1])
