"""The commands of profiles/lsf, sge and pbs against what their schedulers are documented to answer.

No such scheduler stands behind these tests: they hold how the answers are read, and what is asked for.
tests/test_slurm.py runs the same profile file on a real scheduler.
"""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

PROFILES = ("lsf", "sge", "pbs")


def answering(folder: Path, command: str, answer: str, code: int = 0) -> None:
    """Put a command into a folder that notes its arguments and says an answer."""
    (folder / f"{command}.txt").write_text(answer)
    file = folder / command
    file.write_text(f'#!/bin/sh\necho "$@" >>"{folder}/asked"\ncat "{folder}/{command}.txt"\nexit {code}\n')
    file.chmod(0o755)


def said(folder: Path, profile: str, command: str, *arguments: str) -> str:
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(
        [ROOT / "profiles" / profile / command, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("answer", "code", "status"),
    [
        ("PEND", 0, "running"),
        ("RUN", 0, "running"),
        ("USUSP", 0, "running"),
        ("DONE", 0, "success"),
        ("EXIT", 0, "failed"),
        ("", 255, "running"),
    ],
)
def test_how_a_job_of_lsf_stands(tmp_path: Path, answer: str, code: int, status: str) -> None:
    answering(tmp_path, "bjobs", answer, code)
    assert said(tmp_path, "lsf", "status", "17") == status


QSTAT = """job-ID  prior   name       user         state submit/start at     queue          slots ja-task-ID
-----------------------------------------------------------------------------------------------------
     16 0.55500 other      me           r     11/25/2026 10:00:00 all.q@node1        1
     17 0.55500 snakejob   me           {state}    11/25/2026 10:00:00 all.q@node1        1
"""
QACCT = """==============================================================
qname        all.q
jobnumber    17
failed       {failed}
exit_status  {exit}
"""


@pytest.mark.parametrize(
    ("qstat", "qacct", "status"),
    [
        (QSTAT.format(state="qw"), "", "running"),
        (QSTAT.format(state="r"), "", "running"),
        (QSTAT.format(state="Eqw"), "", "failed"),
        # It has left the queue, and accounting does not know it yet.
        ("", "", "running"),
        ("", QACCT.format(failed="0", exit="0"), "success"),
        ("", QACCT.format(failed="0", exit="1"), "failed"),
        ("", QACCT.format(failed="100 : assumedly after job", exit="137"), "failed"),
    ],
)
def test_how_a_job_of_grid_engine_stands(tmp_path: Path, qstat: str, qacct: str, status: str) -> None:
    answering(tmp_path, "qstat", qstat)
    answering(tmp_path, "qacct", qacct, 0 if qacct else 1)
    answering(tmp_path, "qdel", "")
    assert said(tmp_path, "sge", "status", "17") == status


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("    job_state = Q\n", "running"),
        ("    job_state = R\n    comment = Job run\n", "running"),
        ("    job_state = F\n    Exit_status = 0\n", "success"),
        ("    job_state = F\n    Exit_status = 271\n", "failed"),
        # Deleted before it ran: there is no exit status.
        ("    job_state = F\n", "failed"),
        ("", "running"),
    ],
)
def test_how_a_job_of_pbs_stands(tmp_path: Path, answer: str, status: str) -> None:
    answering(tmp_path, "qstat", f"Job Id: 17.server\n{answer}" if answer else "")
    assert said(tmp_path, "pbs", "status", "17.server") == status


@pytest.mark.parametrize(
    ("profile", "command", "answer", "job", "asks"),
    [
        (
            "lsf",
            "bsub",
            "Job <17> is submitted to queue <normal>.\n",
            "17",
            "-n 2 -M 4001MB -W 90 -R span[hosts=1] rusage[mem=4001MB]",
        ),
        ("sge", "qsub", "17\n", "17", "-l h_vmem=2001M -l h_rt=5400 -pe smp 2"),
        ("pbs", "qsub", "17.server\n", "17.server", "-l select=1:ncpus=2:mem=4001mb -l walltime=5400"),
    ],
)
def test_what_is_asked_for(tmp_path: Path, profile: str, command: str, answer: str, job: str, asks: str) -> None:
    answering(tmp_path, command, answer)
    assert said(tmp_path, profile, "submit", "2", "4001", "90", "0", "/work/job.sh") == job
    asked = (tmp_path / "asked").read_text()
    assert asks in asked
    assert asked.endswith(" /work/job.sh\n")
    assert "gpu" not in asked
    said(tmp_path, profile, "submit", "1", "4000", "90", "1", "/work/job.sh")
    gpu = {"lsf": "-gpu num=1", "sge": "-l gpu=1", "pbs": ":ngpus=1"}[profile]
    assert gpu in (tmp_path / "asked").read_text().splitlines()[1]


def test_the_profiles_are_one_but_for_their_commands() -> None:
    """What tests/test_slurm.py proves of one of them holds for all."""
    read = {name: yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text()) for name in PROFILES}
    cancels = [profile.pop("cluster-generic-cancel-cmd") for profile in read.values()]
    assert cancels == ["bkill", "qdel", "qdel"]
    texts = {str(profile).replace(f"profiles/{name}/", "profiles/") for name, profile in read.items()}
    assert len(texts) == 1
