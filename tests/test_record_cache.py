"""The cache of records: what it holds is not extracted again, and a shard is as one extraction makes it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lenscore.contexts.context import Context, Segment
from lenscore.contexts.tables import contexts_to_table
from lenscore.extraction.record_cache import RecordCache, record_keys
from lenscore.extraction.shard import ShardRecords
from lenscore.extraction.tables import ANSWER_TOKENS, FITS, LAYER_RECORDS
from lenscore.records import shard_facts, write_table
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


def made_from(**changes: Any) -> dict[str, Any]:
    """Return what a shard's records are made from, with changes."""
    context = Context(
        "main/q/2/0", "main", "q", 0, "documents", 2, 0, 0, 0.0, (Segment("question", None, None, "which"),), " x",
        ("a", "b"),
    )  # fmt: skip
    of_context = {name: changes.pop(name) for name in list(changes) if name in vars(context)}
    return {
        "contexts": contexts_to_table([replace(context, **of_context)]),
        "model_files": {"model.safetensors": "a"},
        "lenses": ["logit", "tuned"],
        "trained": {"tuned": "as it was"},
        "versions": {"code of lens logit": "1", "code of lens tuned": "1", "torch": "2"},
        "settings": {"top_k": 5},
        **changes,
    }


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({"answer": " y"}, {"logit", "tuned"}),
        ({"segments": (Segment("question", None, None, "who"),)}, {"logit", "tuned"}),
        ({"gold_index": 1}, {"logit", "tuned"}),
        # What an extraction does not read: the same contexts may have other ones, as in a dataset that has grown.
        ({"question_place": 7}, set()),
        ({"relative_position": 0.5}, set()),
        ({"document_ids": ("a", "c")}, set()),
        ({"model_files": {"model.safetensors": "b"}}, {"logit", "tuned"}),
        ({"trained": {"tuned": "trained again"}}, {"tuned"}),
        ({"versions": {"code of lens logit": "1", "code of lens tuned": "2", "torch": "2"}}, {"tuned"}),
        ({"versions": {"code of lens logit": "1", "code of lens tuned": "1", "torch": "3"}}, {"logit", "tuned"}),
        ({"settings": {"top_k": 6}}, {"logit", "tuned"}),
        ({}, set()),
    ],
)
def test_a_key_is_made_of_all_that_decides_the_records(change: dict[str, Any], changed: set[str]) -> None:
    before, after = record_keys(**made_from()), record_keys(**made_from(**change))
    assert {name for name in before if before[name] != after[name]} == changed


def test_two_jobs_may_write_one_entry(tmp_path: Path) -> None:
    """Two models of a study may be the same files under two names."""

    class WhileAnotherWrites(Extraction):
        def __call__(self, lenses: Sequence[str]) -> ShardRecords:
            RecordCache(tmp_path).shard({"logit": "1"}, Extraction())
            return super().__call__(lenses)

    shard = RecordCache(tmp_path).shard({"logit": "1"}, WhileAnotherWrites())
    assert shard.records.equals(whole(["logit"]).records)
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["1"]
