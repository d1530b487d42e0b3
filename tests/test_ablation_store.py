"""Ablations in the database: each ablated context's variants once or not at all, and views worked by hand."""

import functools
import math
import operator
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from lenscore import store
from lenscore.extraction.tables import FITS
from lenscore.records import shard_facts, write_table
from tests.small_study import HAND_WORKED, OTHER, REPLACEMENTS, SCOPES, TARGET, L, SmallStudy, ablation_rows, layer_rows
from tests.test_store import assert_refused as refused

Rows = list[dict[str, Any]]
VIEWS = Path(store.__file__).parent / "views"
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
    for name in ("ablations", "ablation_drops", "ablation_sums"):
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


def test_sums_are_those_of_the_drops(study: SmallStudy) -> None:
    """With two orders of the distractors, whose tokens are summed together, and a context without documents."""
    study.load()
    with duckdb.connect(str(study.target)) as database:
        database.execute("update contexts set gold_index = 0, relative_position = 0, distractor_order = 1 where "
                         "context_id = 'main/q0/2/1'")  # fmt: skip
        database.execute("update contexts set condition = 'oracle' where context_id = 'main/q1/2/1'")
    found = study.query("select question_id, gold_index, block, n_tokens, sum_accuracy_drop, sum_logprob_drop, sum_kl "
                        "from ablation_sums where scope = 'answer' and replacement = 'skip' order by all")  # fmt: skip
    right = [case[1][1] is not None for case in HAND_WORKED.values()]
    # Question 0 has tokens 0 to 3 in two orders; of question 1, tokens 4 and 5 are among documents.
    wanted = [
        (f"q{n}", 0, block, len(tokens), sum(right[t] for t in tokens) if block == 2 else 0, block * len(tokens),
         pytest.approx(len(tokens) * block / 10))
        for n, tokens in ((0, (0, 1, 2, 3)), (1, (4, 5)))
        for block in (1, 2, 3)
    ]  # fmt: skip
    assert found == wanted


def sums_of(logprobs: list[tuple[float, float]], kl: list[float]) -> tuple[Any, ...]:
    """Return the row of view ablation_sums for tokens of one block: log-probabilities (intact, ablated) and KL."""
    drops = pd.DataFrame(logprobs, columns=["intact_logprob", "ablated_logprob"], dtype="float32").assign(
        kl_from_intact=pd.Series(kl, dtype="float32"), model="m", context_set="main", question_id="q", n_documents=3,
        gold_index=0, relative_position=0.0, scope="all", replacement="skip", block=1, condition="documents",
        intact_right=True, ablated_right=False,
    )  # fmt: skip
    with duckdb.connect() as database:
        database.register("drops", drops)
        database.execute("create table ablation_drops as select * from drops")
        database.execute((VIEWS / "10_ablation_sums.sql").read_text(encoding="utf-8"))
        (row,) = database.execute(
            "select n_tokens, sum_accuracy_drop, sum_logprob_drop, sum_kl from ablation_sums"
        ).fetchall()
    return tuple(row)


def test_sums_are_exact_whatever_the_order() -> None:
    values = [2.0**20] + [2.0**-34] * 12
    exact = 2.0**20 + 3 * 2.0**-32
    # Added one by one, the small values are lost where the large one comes first.
    assert functools.reduce(operator.add, values) == 2.0**20
    assert functools.reduce(operator.add, values[::-1]) == exact
    for ordered in (values, values[::-1]):
        assert sums_of([(0.0, -value) for value in ordered], ordered) == (13, 13, exact, exact)


def test_a_drop_beyond_measure_is_bounded_and_one_that_is_no_number_is_left_out() -> None:
    assert sums_of([(-1.0, -3e38), (-1.0, -2.0)], [3e38, 0.5]) == (2, 2, 9e8 - 1 + 1, 9e8 + 0.5)
    assert sums_of([(-1.0, math.nan), (-1.0, -math.inf), (-1.0, -2.0)], [0.5, 0.5, 0.5]) == (1, 1, 1.0, 0.5)
    assert sums_of([(-1.0, -2.0), (-1.0, -2.0)], [math.nan, 0.5]) == (1, 1, 1.0, 0.5)


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
    write_table(table, study.ablation_shards[0].file, shard_facts(study.ablation_shards[0].file))
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
