"""The cache of records: what it holds is not extracted again, and a shard is as one extraction makes it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lenscore.contexts.context import Context
from lenscore.contexts.tables import contexts_to_table
from lenscore.extraction.record_cache import RecordCache, record_keys
from lenscore.extraction.shard import ShardRecords
from lenscore.records import ANSWER_TOKENS, FITS, LAYER_RECORDS, shard_facts, write_table
from tests.small_study import layer_rows

CONTEXTS = ["main/b/2/0", "main/a/2/0", "main/a/2/1"]  # in the shard's order, not the alphabet's


class Extraction:
    """Replaces the model: extracts what it is asked for, and remembers it."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, lenses: Sequence[str]) -> ShardRecords:
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
            {"device": "cpu", "n_layers": 3},
        )


def whole(lenses: list[str]) -> ShardRecords:
    return Extraction()(lenses)


def keys(versions: dict[str, str]) -> dict[str, str]:
    """Return a key for each version of a lens: two lenses never have the same."""
    return {name: f"{name} {version}" for name, version in versions.items()}


@pytest.mark.parametrize(
    ("before", "after", "extracted"),
    [
        ({}, {"logit": "1", "tuned": "1"}, ["logit", "tuned"]),
        ({"logit": "1", "tuned": "1"}, {"logit": "1", "tuned": "1"}, None),
        ({"logit": "1"}, {"logit": "1", "tuned": "1"}, ["tuned"]),
        ({"tuned": "1"}, {"logit": "1", "tuned": "1"}, ["logit"]),
        ({"logit": "1", "tuned": "1"}, {"logit": "1", "tuned": "2"}, ["tuned"]),
        ({"logit": "1", "tuned": "1"}, {"logit": "2", "tuned": "2"}, ["logit", "tuned"]),
        ({"logit": "1", "tuned": "1"}, {"tuned": "1"}, None),
        ({"logit": "1", "tuned": "1"}, {"logit": "2"}, ["logit"]),
    ],
)
def test_only_what_the_cache_lacks_is_extracted(
    tmp_path: Path, before: dict[str, str], after: dict[str, str], extracted: list[str] | None
) -> None:
    cache, extraction = RecordCache(tmp_path), Extraction()
    if before:
        cache.shard(keys(before), extraction)
        extraction.asked.clear()
    shard = cache.shard(keys(after), extraction)
    assert extraction.asked == ([] if extracted is None else [extracted])
    expected = whole(list(after))
    assert shard.records.equals(expected.records)
    assert shard.answer_tokens.equals(expected.answer_tokens)
    assert shard.fits.equals(expected.fits)
    assert shard.facts == expected.facts


def test_what_was_made_earlier_is_found_however_often_it_changed_since(tmp_path: Path) -> None:
    cache, extraction = RecordCache(tmp_path), Extraction()
    for key in ("1", "2", "1"):
        cache.shard({"logit": key}, extraction)
    assert extraction.asked == [["logit"], ["logit"]]


def test_an_entry_that_is_removed_is_extracted_again(tmp_path: Path) -> None:
    cache, extraction = RecordCache(tmp_path), Extraction()
    cache.shard({"logit": "1", "tuned": "2"}, extraction)
    for file in (tmp_path / "2/2").iterdir():
        file.unlink()
    (tmp_path / "2/2").rmdir()
    cache.shard({"logit": "1", "tuned": "2"}, extraction)
    assert extraction.asked[1:] == [["tuned"]]


@pytest.mark.parametrize("file", ["records", "answer_tokens", "fits"])
@pytest.mark.parametrize("fault", ["missing", "cut off", "damaged", "without some rows", "of another schema"])
def test_a_damaged_entry_is_extracted_again(tmp_path: Path, file: str, fault: str) -> None:
    cache, extraction = RecordCache(tmp_path), Extraction()
    cache.shard({"logit": "1"}, extraction)
    path = tmp_path / f"1/1/{file}.parquet"
    content = path.read_bytes()
    if fault == "missing":
        path.unlink()
    elif fault == "cut off":
        path.write_bytes(content[:100])
    elif fault == "damaged":
        path.write_bytes(content[:4] + bytes(200) + content[204:])
    elif fault == "without some rows":
        facts = shard_facts(path) if file == "records" else None
        write_table(pq.read_table(path).slice(1), path, facts)
    else:
        write_table(pa.table({"a": [1]}), path, {"n_layers": 3})
    shard = cache.shard({"logit": "1"}, extraction)
    assert extraction.asked == [["logit"]] * 2
    assert shard.records.equals(whole(["logit"]).records)


def test_a_cache_that_cannot_be_written_costs_no_result(tmp_path: Path) -> None:
    (tmp_path / "1").write_text("a file where a folder should be")
    shard = RecordCache(tmp_path).shard({"logit": "1"}, Extraction())
    assert shard.records.equals(whole(["logit"]).records)


def made_from(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return what a shard's records are made from, with changes."""
    (folder / "lens").write_text(changes.pop("lens", "as it was"))
    context = Context(
        "main/q/2/0", "main", "q", changes.pop("question_place", 0), "documents", 2, 0, 0, 0.0, (),
        changes.pop("answer", " x"), ("a", "b"),
    )  # fmt: skip
    return {
        "contexts": contexts_to_table([context]),
        "model_files": {"model.safetensors": "a"},
        "lenses": {"logit": None, "tuned": folder / "lens"},
        "code": {"logit": "1", "tuned": "1"},
        "settings": {"top_k": 5},
        **changes,
    }


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({"answer": " y"}, {"logit", "tuned"}),
        ({"question_place": 7}, set()),  # the same contexts, in a dataset that has grown
        ({"model_files": {"model.safetensors": "b"}}, {"logit", "tuned"}),
        ({"lens": "trained anew"}, {"tuned"}),
        ({"code": {"logit": "1", "tuned": "2"}}, {"tuned"}),
        ({"settings": {"top_k": 6}}, {"logit", "tuned"}),
        ({}, set()),
    ],
)
def test_a_key_is_made_of_all_that_decides_the_records(
    tmp_path: Path, change: dict[str, Any], changed: set[str]
) -> None:
    before = record_keys(**made_from(tmp_path))
    after = record_keys(**made_from(tmp_path, **change))
    assert {name for name in before if before[name] != after[name]} == changed
