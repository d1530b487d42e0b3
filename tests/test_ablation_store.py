"""Ablations in the database: each ablated context's variants once or not at all, and views worked by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lenscore.records import FITS, write_table
from tests.small_study import HAND_WORKED, OTHER, REPLACEMENTS, SCOPES, TARGET, L, SmallStudy, ablation_rows, layer_rows
from tests.test_store import assert_refused as refused

Rows = list[dict[str, Any]]
N_VARIANTS = len(SCOPES) * (1 + len(REPLACEMENTS) * L)


@pytest.fixture
def study(tmp_path: Path) -> SmallStudy:
    """The small study with its first shard ablated, the second not."""
    study = SmallStudy(tmp_path)
    study.ablation_shards = [study.write_ablations(0)]
    return study


def rows_of(study: SmallStudy) -> Rows:
    return [made for row in study.rows[0] if row["layer"] == L for made in ablation_rows(row)]


def test_ablations_are_loaded(study: SmallStudy) -> None:
    study.load()
    assert study.query("select count(*), any_value(model) from ablations") == [(2 * 2 * 2 * N_VARIANTS, "tiny")]
    assert study.query("select count(*) from vocabulary where token_id = 1") == [(1,)]


def test_a_study_without_ablations_has_the_table_and_the_views_empty(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path)
    study.load()
    for name in ("ablations", "ablation_drops"):
        assert study.query(f"select count(*) from {name}") == [(0,)]


def test_drops_of_a_token_by_hand(study: SmallStudy) -> None:
    study.load()
    top1 = list(HAND_WORKED.values())[1][0][-1]  # main/q0/2/0, second token: right at the last layer
    assert top1 == TARGET
    found = study.query(
        """select question_id, n_documents, gold_index, relative_position, block, intact_right, ablated_right,
        intact_logprob - ablated_logprob, round(kl_from_intact::double, 3) from ablation_drops
        where context_id = 'main/q0/2/0' and answer_index = 1 and scope = 'all' and replacement = 'mean'
        order by block"""
    )
    assert found == [("q0", 2, 0, 0.0, block, True, block != 2, block, block / 10) for block in (1, 2, 3)]
    assert study.query("select count(*) from ablation_drops") == [(8 * (N_VARIANTS - len(SCOPES)),)]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda rows: rows.pop(0), id="an intact row is missing"),
        pytest.param(lambda rows: rows.pop(3), id="a block is missing"),
        pytest.param(lambda rows: rows.append(rows[-1]), id="a row is doubled"),
        pytest.param(lambda rows: rows.append(rows[0]), id="an intact row is doubled"),
        pytest.param(lambda rows: rows[3].update(block=L + 1), id="a block has another number"),
        pytest.param(lambda rows: rows[0].update(block=1), id="an intact row has a block"),
        pytest.param(lambda rows: rows[1].update(block=2), id="a block twice, another never"),
        pytest.param(lambda rows: rows[1].update(replacement="mean"), id="another replacement"),
        pytest.param(lambda rows: rows.append({**rows[0], "answer_index": 2}), id="an answer token too many"),
        pytest.param(
            lambda rows: rows.__setitem__(slice(None), [row for row in rows if row["scope"] == "all"]),
            id="a scope is missing",
        ),
        pytest.param(
            lambda rows: rows.__setitem__(slice(None), [row for row in rows if row["answer_index"] == 0]),
            id="an answer token is missing",
        ),
    ],
)
def test_ablations_that_are_not_each_variant_once_are_refused(
    study: SmallStudy, spoil: Callable[[Rows], object]
) -> None:
    rows = rows_of(study)
    spoil(rows)
    study.write_ablations(0, rows)
    refused(study, "ablation missing, doubled or too many", "shard 0", "ablate")


def test_ablations_of_another_target_are_refused(study: SmallStudy) -> None:
    rows = rows_of(study)
    rows[4]["target_id"] = OTHER
    study.write_ablations(0, rows)
    refused(study, "ablations have another target", rows[4]["context_id"], "shard 0")


@pytest.mark.parametrize("context", ["main/q9/2/0", "main/q3/2/0"])
def test_contexts_unknown_or_of_another_shard_are_refused(study: SmallStudy, context: str) -> None:
    rows = ablation_rows(layer_rows(context, 0, [1] * (L + 1))[-1])
    study.write_ablations(0, rows_of(study) + rows)
    refused(study, "not of this shard", context, "shard 0")


@pytest.mark.parametrize("facts", [{"model": "other"}, {"context_set": "other"}, {"shard": 1}])
def test_a_file_of_another_place_is_refused(study: SmallStudy, facts: dict[str, Any]) -> None:
    study.write_ablations(0, **facts)
    refused(study, "holds the records of", "ablations-0")


def test_a_file_given_twice_missing_or_of_no_shard_is_refused(study: SmallStudy) -> None:
    (shard,) = study.ablation_shards
    study.ablation_shards = [shard, shard]
    refused(study, "given twice", "shard 0")
    study.ablation_shards = [replace(shard, shard=7)]
    refused(study, "no such shard", "shard 7")
    study.ablation_shards = [replace(shard, file=study.folder / "none")]
    refused(study, "is missing", "shard 0")


def test_a_file_with_other_columns_is_refused(study: SmallStudy) -> None:
    table = pa.Table.from_pylist(rows_of(study)).drop_columns("target_rank")
    write_table(table, study.ablation_shards[0].file, {"model": "tiny", "context_set": "main", "shard": 0})
    refused(study, "expected", "target_rank")


def test_a_skipped_context_must_not_be_ablated(study: SmallStudy) -> None:
    gone = "main/q0/2/0"
    ablated = rows_of(study)
    study.rows[0] = [row for row in study.rows[0] if row["context_id"] != gone]
    files = study.write_records(0)
    kept = [
        {"context_id": c, "fit": "whole", "n_tokens": 9, "n_tokens_cut": 0, "reason": None}
        for c in ("main/q0/2/1", "main/q1/2/0", "main/q1/2/1")
    ]
    skipped = {"context_id": gone, "fit": "skipped", "n_tokens": 99, "n_tokens_cut": 0, "reason": "long"}
    write_table(pa.Table.from_pylist([*kept, skipped], schema=FITS), files.fits)
    study.write_ablations(0, ablated)
    refused(study, "ablation missing, doubled or too many", gone)
    study.write_ablations(0)
    study.load()
