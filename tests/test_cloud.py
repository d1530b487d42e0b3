"""A study whose jobs share no files: each runs in an empty folder, and takes what it reads from an S3 store.

What profiles/kubernetes asks for, but for the pods: the store is moto's, on loopback, a pod a folder of this machine.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from tests.conftest import ROOT, Checkout, copy_project
from tests.same_study import hashes_of_study

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

USER, SECRET = "somebody", "secret"
# What names the folder of the model's source.
OTHERWISE = {"table study", "table models", "lenses/tiny/tuned.json"}
PROFILE = yaml.safe_load((ROOT / "profiles/kubernetes/profile.yaml").read_text())


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """An S3 store on loopback."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def put_pods_profile(folder: Path, store: str) -> None:
    """Write the profile of Kubernetes, with folders in the place of pods."""
    profile = {key: value for key, value in PROFILE.items() if not key.startswith(("kubernetes", "container"))}
    shutil.copytree(ROOT / "tests/pods", folder)
    of_pods = {
        "executor": "cluster-generic",
        "cluster-generic-submit-cmd": "profiles/pods/submit",
        "cluster-generic-status-cmd": "profiles/pods/status",
        "seconds-between-status-checks": 1,
        # What the Kubernetes executor says of itself.
        "shared-fs-usage": "none",
        "job-deploy-sources": True,
        "storage-s3-endpoint-url": store,
        "retries": 0,
        "jobs": 2,
        "cores": 2,
        "local-cores": 2,
    }
    (folder / "profile.yaml").write_text(yaml.safe_dump({**profile, **of_pods}))


def snakemake(checkout: Checkout, profile: str, config: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PODS": str(checkout.folder / "pods"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SNAKEMAKE_STORAGE_S3_ACCESS_KEY": USER,
        "SNAKEMAKE_STORAGE_S3_SECRET_KEY": SECRET,
    }
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--profile", profile, *arguments, "--configfile", config],
        cwd=checkout.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory, store: str, config: dict[str, Any]) -> Checkout:
    """The checkout of a study that was run so; what the store holds in the end lies in its folder `store`."""
    checkout = copy_project(tmp_path_factory.mktemp("carried"))
    folder = checkout.folder
    put_pods_profile(folder / "profiles/pods", store)
    # A job is sent what git knows of. The model is not among it: it must come from the store.
    for command in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    shutil.copytree(config["models"]["tiny"]["source"].removeprefix("path:"), folder / "tiny-gpt2")
    config = {**config, "models": {"tiny": {"source": "path:tiny-gpt2"}}}
    (folder / "pods").mkdir()
    file = checkout.write_config(config)
    done = snakemake(checkout, "profiles/pods", file)
    logs = "".join(f"{log}:\n{log.read_text()}" for log in folder.glob("pods/*/log"))
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{logs}"
    bucket = boto3.resource(
        "s3", endpoint_url=store, region_name="us-east-1", aws_access_key_id=USER, aws_secret_access_key=SECRET
    ).Bucket("my-bucket")
    for item in bucket.objects.all():
        path = folder / "store" / item.key
        path.parent.mkdir(parents=True, exist_ok=True)
        bucket.download_file(item.key, path)
    return checkout


def test_what_the_store_holds_is_what_a_local_run_makes(carried: Checkout, finished: Checkout) -> None:
    found = hashes_of_study(carried.folder / "store/lenscore/results/tiny", "tiny")
    local = hashes_of_study(finished.folder / "results/tiny", "tiny")
    assert found.keys() == local.keys()
    assert {name for name in found if found[name] != local[name]} == OTHERWISE


def test_every_job_that_runs_a_model_and_the_report_ran_in_an_empty_folder(carried: Checkout) -> None:
    logs = [log.read_text() for log in carried.folder.glob("pods/*/log")]
    rules = ("train_lens", "reference_means", "extract_shard", "ablate_shard", "load_database", "render_report")
    jobs = {rule: sum(f"rule {rule}:" in log for log in logs) for rule in rules}
    assert jobs == {**dict.fromkeys(rules, 1), "extract_shard": 2}
    assert not (carried.folder / "results").exists()
    # Where Snakemake itself runs, it remembers the hashes of the model's files, which are there.
    assert [path.name for path in (carried.folder / "resources").iterdir()] == [".contents.json"]


def test_the_page_is_in_the_store(carried: Checkout) -> None:
    page = (carried.folder / "store/lenscore/results/tiny/report/index.html").read_text(encoding="utf-8")
    assert "<h1>Where in its depth: tiny</h1>" in page
    # Who renders it is carried no benchmark files: it says nothing of times.
    assert "What it took" not in page


def test_a_second_run_has_nothing_to_do_also_by_the_profile_of_kubernetes(carried: Checkout, store: str) -> None:
    done = snakemake(carried, "profiles/kubernetes", "study.yaml", "--dry-run", "--storage-s3-endpoint-url", store)
    assert done.returncode == 0, done.stderr
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_changed_key_runs_what_it_runs_on_one_machine(carried: Checkout) -> None:
    study = yaml.safe_load((carried.folder / "study.yaml").read_text())
    changed = carried.write_config({**study, "extraction": {"top_k": 3}}, "changed.yaml")
    done = snakemake(carried, "profiles/pods", changed, "--dry-run", "--quiet", "host")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    for rule, jobs in {"extract_shard": 2, "load_database": 1, "render_report": 1}.items():
        assert re.search(rf"^{rule} +{jobs}$", said, re.MULTILINE), said
    for rule in ("fetch_model", "build_contexts", "train_lens", "reference_means", "ablate_shard"):
        assert not re.search(rf"^{rule} ", said, re.MULTILINE), said
