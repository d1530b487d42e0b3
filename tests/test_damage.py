"""A byte of a study's files is flipped: no job reads on, and verify names the file and what mends it."""

import errno
import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lenscore.errors import DamagedFileError, LenscoreError
from lenscore.hashes import Fault, faults_of, read_hashes, verify
from lenscore.plan.job import Job
from lenscore.plan.rules.ablate_shard import AblateJob
from lenscore.plan.rules.analyse import AnalyseJob
from lenscore.plan.rules.build_contexts import ContextsJob
from lenscore.plan.rules.choose_examples import ExamplesJob
from lenscore.plan.rules.extract_shard import ExtractJob
from lenscore.plan.rules.load_database import LoadJob
from lenscore.plan.rules.reference_means import MeansJob
from lenscore.plan.rules.render_charts import ChartsJob
from lenscore.plan.rules.render_report import PageJob
from lenscore.plan.rules.train_lens import TrainLensJob
from lenscore.records import read_table, shard_facts, write_table
from tests.conftest import Checkout
from tests.plans import plan_of

OF_SHARD = {"model": "tiny", "set": "main", "shard": "0000"}
FLIPS = 40

# By kind of file: a rule that reads it, with its wildcards, and which of the rule's inputs it is.
READERS: dict[str, tuple[type[Job], str, dict[str, str], str]] = {
    "dataset": (ContextsJob, "build_contexts", {"set": "main", "shard": "0000"}, "questions"),
    "dataset of a lens": (TrainLensJob, "train_lens", {"model": "tiny", "lens": "tuned"}, "questions"),
    "dataset's manifest": (LoadJob, "load_database", {}, "dataset"),
    "model": (ExtractJob, "extract_shard", OF_SHARD, "model"),
    "model of a lens": (TrainLensJob, "train_lens", {"model": "tiny", "lens": "tuned"}, "model"),
    "model that is ablated": (AblateJob, "ablate_shard", OF_SHARD, "model"),
    "contexts": (ExtractJob, "extract_shard", OF_SHARD, "contexts"),
    "contexts of means": (MeansJob, "reference_means", {"model": "tiny", "set": "main"}, "contexts"),
    "lens": (ExtractJob, "extract_shard", OF_SHARD, "lenses"),
    "lens's manifest": (ExtractJob, "extract_shard", OF_SHARD, "lens_manifests"),
    "lens's divergences": (LoadJob, "load_database", {}, "divergences"),
    "means": (AblateJob, "ablate_shard", OF_SHARD, "means"),
    "records": (LoadJob, "load_database", {}, "records"),
    "answer tokens": (LoadJob, "load_database", {}, "answer_tokens"),
    "fits": (LoadJob, "load_database", {}, "fits"),
    "ablations": (LoadJob, "load_database", {}, "ablations"),
    "left-out questions": (LoadJob, "load_database", {}, "left_out"),
    "database": (AnalyseJob, "analyse", {}, "database"),
    "database of examples": (ExamplesJob, "choose_examples", {}, "database"),
    "database of the page": (PageJob, "render_report", {}, "database"),
    "tables": (ChartsJob, "render_charts", {}, "tables"),
    "findings": (PageJob, "render_report", {}, "findings"),
    "charts": (PageJob, "render_report", {}, "charts"),
}


@contextmanager
def flipped(file: Path, draw: random.Random) -> Iterator[None]:
    """Flip one bit of a file during the block."""
    content = file.read_bytes()
    damaged = bytearray(content)
    damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    file.write_bytes(damaged)
    try:
        yield
    finally:
        file.write_bytes(content)


def files_in(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if not file.name.startswith(".")) if path.is_dir() else [path]


@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
def test_no_job_reads_a_file_of_which_a_bit_is_flipped(
    finished: Checkout, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(finished.folder)
    job_class, rule, wildcards, name = READERS[kind]
    job = job_class.model_validate(plan_of(config).job(rule)(wildcards))
    given = getattr(job.inputs, name)
    draw = random.Random(kind)
    for number in range(FLIPS):
        place = draw.choice(given) if isinstance(given, list) else given
        file = draw.choice(files_in(place))
        with (
            flipped(file, draw),
            pytest.raises(DamagedFileError, match=r"--forcerun") as raised,
            job.with_files(job.inputs.model_dump(), job.outputs.model_dump()),
        ):
            pytest.fail(f"{file}: flip {number} passed")
        assert str(raised.value).startswith(f"{file}: damaged or changed")
        assert str(raised.value).endswith(f" {place}")
        assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_files_that_are_as_they_were_made_are_read(
    finished: Checkout, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.folder)
    for job_class, rule, wildcards, _ in READERS.values():
        job = job_class.model_validate(plan_of(config).job(rule)(wildcards))
        before = job.outputs.hashes.read_bytes()
        with job.with_files(job.inputs.model_dump(), job.outputs.model_dump()) as placed:
            assert placed == job
        assert job.outputs.hashes.read_bytes() == before


@pytest.mark.slow
def test_verify_names_every_damaged_file_and_the_command_mends_it(finished: Checkout, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout")
    shutil.copytree(finished.folder, checkout.folder, symlinks=True)
    done = checkout.snakemake("verify", "--configfile", "finished.yaml")
    assert done.returncode == 0, done.stderr
    assert "all are as they were made" in done.stderr
    # A workflow takes no earlier one's word for what it has made.
    (checkout.folder / "resources").joinpath(".contents.json").write_text(
        json.dumps({str(checkout.folder.resolve() / name): [0] for name in ("resources/a", "results/tiny/b", "c")})
    )
    assert checkout.snakemake("verify", "--configfile", "finished.yaml").returncode == 0
    remembered = json.loads((checkout.folder / "resources/.contents.json").read_text())
    assert [name for name, entry in remembered.items() if entry == [0]] == [str(checkout.folder.resolve() / "c")]
    charts = checkout.folder / "results/tiny/charts"
    damaged = [
        checkout.folder / "results/tiny/report/index.html",
        checkout.folder / "results/tiny/tables/refinement_curve.csv",
        sorted(charts.glob("*.svg"))[0],
    ]
    for file in damaged:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])  # cut off
    (charts / "added.svg").write_text("<svg/>")
    done = checkout.snakemake("verify", "--configfile", "finished.yaml")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for file in damaged:
        assert f"{file.relative_to(checkout.folder)}: damaged or changed" in done.stderr
    assert "charts/added.svg: is not one of the files that were made here" in done.stderr
    (command,) = {line.partition("--forcerun ")[2] for line in done.stderr.splitlines() if "--forcerun" in line}
    # It asks what is wrong and mends nothing by itself.
    assert checkout.planned("finished.yaml")["extract_shard"] == 0
    done = checkout.snakemake("--configfile", "finished.yaml", "--forcerun", *command.split())
    assert done.returncode == 0, done.stderr
    assert "rule extract_shard" not in done.stderr
    done = checkout.snakemake("verify", "--configfile", "finished.yaml")
    assert done.returncode == 0, done.stderr


def test_verify_tells_what_is_missing_from_what_was_never_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("made").mkdir()
    for name in ("a", "b"):
        Path("made", name).write_text(name)
    Path("hashes.json").write_text(
        '{"made/a": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",'
        ' "made/b": "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"}'
    )
    jobs = [(["made"], Path("hashes.json")), (["later"], Path("later.json"))]
    found = verify(jobs)
    assert (found.jobs, found.files, found.faults) == (1, 2, [])
    Path("made/b").unlink()
    (fault,) = verify(jobs).faults
    assert (fault.output, fault.message) == ("made", "made/b: is missing")
    Path("later").write_text("without a hash")
    assert "later.json: not a file of hashes" in verify(jobs[1:]).faults[0].message
    Path("hashes.json").write_text("[")
    assert "hashes.json: not a file of hashes" in verify(jobs[:1]).faults[0].message


def test_a_file_of_which_no_hash_was_recorded_is_no_file_of_the_study(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("own")
    (fault,) = faults_of("own", tmp_path / "own", {"owner": "0" * 64})
    assert "recorded no hash of it" in fault.message
    with pytest.raises(DamagedFileError, match="not a file of hashes"):
        read_hashes([tmp_path / "none.json"])


def test_a_file_that_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    """As on a disk with a bad block."""

    def bad_block(file: Path) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "made").write_text("made")
    (fault,) = faults_of("made", tmp_path / "made", {"made": "0" * 64}, bad_block)
    assert fault == Fault("made", "made: cannot be read: [Errno 5] Input/output error")


def test_a_page_of_parquet_with_a_flipped_bit_is_not_read(tmp_path: Path) -> None:
    """As a library, without any file of hashes: what is read is what was written, or nothing."""
    schema = pa.schema([("name", pa.string()), ("value", pa.float32()), ("list", pa.list_(pa.int32()))])
    draw = random.Random(0)
    rows = [{"name": f"n{i}", "value": draw.random(), "list": [i, draw.randrange(10**6)]} for i in range(400)]
    table = pa.Table.from_pylist(rows, schema=schema)
    file = tmp_path / "table.parquet"
    write_table(table, file, {"model": "m"})
    assert read_table(file, schema).equals(table)
    messages = []
    for _ in range(300):
        with flipped(file, draw):
            try:
                found = read_table(file, schema)
            except LenscoreError as error:
                messages.append(str(error))
                continue
            assert found.equals(table)  # the bit was in what is not read, such as statistics
    assert len(messages) > 200
    for message in messages:
        assert message.startswith(f"{file}: ")
        assert "\n" not in message


@pytest.mark.parametrize("left", [0, 3, 100])
def test_a_truncated_table_is_named_with_what_mends_it(tmp_path: Path, left: int) -> None:
    file = tmp_path / "table.parquet"
    schema = pa.schema([("value", pa.int32())])
    write_table(pa.table({"value": pa.array([1, 2, 3], pa.int32())}), file)
    os.truncate(file, left)
    for read in (lambda: read_table(file, schema), lambda: shard_facts(file)):
        with pytest.raises(DamagedFileError, match=rf"{file}: cannot be read: .*--forcerun {file}"):
            read()
