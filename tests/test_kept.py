"""What an earlier extraction leaves to a later one: only the new is extracted; the shard is as if made at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lenscore.extraction.record_cache import keep, keys_of_lenses, with_kept
from lenscore.extraction.shard import ShardRecords
from lenscore.records import ANSWER_TOKENS, FITS, LAYER_RECORDS, write_table
from tests.small_study import layer_rows

CONTEXTS = ["main/b/2/0", "main/a/2/0", "main/a/2/1"]  # in the shard's order, not the alphabet's


class Extraction:
    """Stands in for the model: extracts what it is asked for, and remembers it."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, lenses: Mapping[str, Path | None]) -> ShardRecords:
        self.asked.append(list(lenses))
        rows = [
            {**row, "lens": lens, "answer_index": index}
            for context in CONTEXTS
            for lens in lenses
            for index, row in ((i, r) for i in (0, 1) for r in layer_rows(context, i, [3, 7, 7, 7]))
        ]
        tokens = [
            {"context_id": context, "answer_index": index, "token_id": 7, "token_text": "w7", "token_position": 3,
             "border_merged": False}
            for context in CONTEXTS
            for index in (0, 1)
        ]  # fmt: skip
        fits = [
            {"context_id": context, "fit": "whole", "n_tokens": 4, "n_tokens_cut": 0, "reason": None}
            for context in CONTEXTS
        ]
        return ShardRecords(
            pa.Table.from_pylist(rows, schema=LAYER_RECORDS),
            pa.Table.from_pylist(tokens, schema=ANSWER_TOKENS),
            pa.Table.from_pylist(fits, schema=FITS),
            {"device": "cpu", "n_layers": 3, "run": len(self.asked)},
        )


class Job:
    """A shard's job in a folder, run again and again."""

    def __init__(self, folder: Path):
        self.outputs = {name: folder / f"{name}.parquet" for name in ("records", "answer_tokens", "fits")}
        self.kept = folder / ".kept"
        self.extraction = Extraction()

    def run(self, keys: Mapping[str, str]) -> ShardRecords:
        for path in self.outputs.values():
            path.unlink(missing_ok=True)  # as Snakemake does before a job
        shard = with_kept(self.kept, dict.fromkeys(keys), keys, self.extraction)
        write_table(shard.fits, self.outputs["fits"])
        write_table(shard.answer_tokens, self.outputs["answer_tokens"])
        write_table(shard.records, self.outputs["records"], shard.facts)
        keep(self.outputs, self.kept)
        return shard


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def whole(lenses: list[str]) -> pa.Table:
    return Extraction()(dict.fromkeys(lenses)).records


def test_at_first_all_lenses_are_extracted(job: Job) -> None:
    shard = job.run({"logit": "1", "tuned": "1"})
    assert job.extraction.asked == [["logit", "tuned"]]
    assert shard.records.equals(whole(["logit", "tuned"]))


def test_who_asks_for_the_same_once_more_has_it_made_anew(job: Job) -> None:
    for _ in range(2):
        job.run({"logit": "1", "tuned": "1"})
    assert job.extraction.asked == [["logit", "tuned"]] * 2


@pytest.mark.parametrize(
    ("before", "after", "extracted"),
    [
        ({"logit": "1"}, {"logit": "1", "tuned": "1"}, ["tuned"]),
        ({"tuned": "1"}, {"logit": "1", "tuned": "1"}, ["logit"]),
        ({"logit": "1", "tuned": "1"}, {"logit": "1", "tuned": "2"}, ["tuned"]),
        ({"logit": "1", "tuned": "1"}, {"logit": "2", "tuned": "2"}, ["logit", "tuned"]),
        ({"logit": "1", "tuned": "1"}, {"tuned": "1"}, None),
        ({"logit": "1", "tuned": "1"}, {"logit": "2"}, ["logit"]),
    ],
)
def test_only_what_is_new_is_extracted_and_the_shard_is_as_one_extraction(
    job: Job, before: dict[str, str], after: dict[str, str], extracted: list[str] | None
) -> None:
    job.run(before)
    shard = job.run(after)
    assert job.extraction.asked[1:] == ([] if extracted is None else [extracted])
    assert shard.records.equals(whole(list(after)))
    assert shard.facts["made_from"] == after


@pytest.mark.parametrize("file", ["records", "answer_tokens", "fits"])
@pytest.mark.parametrize("fault", ["missing", "cut off", "damaged", "without some rows", "of another schema"])
def test_what_is_not_whole_is_not_kept(job: Job, file: str, fault: str) -> None:
    keys = {"logit": "1", "tuned": "2"}
    job.run({**keys, "tuned": "1"})
    path = job.kept / f"{file}.parquet"
    content = path.read_bytes()
    path.unlink()
    if fault == "cut off":
        path.write_bytes(content[:100])
    elif fault == "damaged":
        path.write_bytes(content[:4] + bytes(200) + content[204:])
    elif fault == "without some rows":
        path.write_bytes(content)
        table, facts = pq.read_table(path), pq.read_schema(path).metadata
        path.unlink()
        write_table(table.slice(1).replace_schema_metadata(facts), path)
    elif fault == "missing":
        pass
    else:
        write_table(pa.table({"a": [1]}), path, {"made_from": {"logit": "1"}})
    shard = job.run(keys)
    assert job.extraction.asked[1:] == [["logit", "tuned"]]
    assert shard.records.equals(whole(["logit", "tuned"]))


def files(folder: Path, **texts: str) -> dict[str, Any]:
    """Write what a shard's records are made from, with changes."""
    for name in ("contexts", "manifest.json", "lens"):
        (folder / name).write_text(texts.get(name.removesuffix(".json"), "as it was"))
    return {
        "contexts": folder / "contexts",
        "model_folder": folder,
        "lenses": {"logit": None, "tuned": folder / "lens"},
        "settings": {"top_k": 5},
    }


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({"contexts": "others"}, {"logit", "tuned"}),
        ({"manifest": "another model"}, {"logit", "tuned"}),
        ({"lens": "trained anew"}, {"tuned"}),
        ({}, set()),
    ],
)
def test_a_key_holds_all_that_records_are_made_from(tmp_path: Path, change: dict[str, str], changed: set[str]) -> None:
    before = keys_of_lenses(**files(tmp_path))
    after = keys_of_lenses(**files(tmp_path, **change))
    assert {name for name in before if before[name] != after[name]} == changed


def test_other_settings_are_another_key(tmp_path: Path) -> None:
    made = files(tmp_path)
    before = keys_of_lenses(**made)
    after = keys_of_lenses(**{**made, "settings": {"top_k": 6}})
    assert all(before[name] != after[name] for name in before)
