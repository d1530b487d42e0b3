"""The database: complete or not at all, and views that agree with cases worked by hand."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lenscore.contexts.questions import Document
from lenscore.errors import StoreError
from lenscore.extraction.tables import FITS
from lenscore.records import refuse_too_many_blocks, write_table
from tests.small_study import HAND_WORKED, OTHER, TARGET, WRONG, L, SmallStudy, layer_rows


@pytest.fixture
def study(tmp_path: Path) -> SmallStudy:
    return SmallStudy(tmp_path)


def test_every_record_is_loaded(study: SmallStudy) -> None:
    study.load()
    assert study.query("select count(*) from layer_records") == [(4 * 2 * 2 * (L + 1),)]
    assert study.query("select prompt from contexts limit 1") == [("say say ",)]
    assert study.query("select token_text from vocabulary where token_id = 7") == [("w7",)]
    assert study.query("select value->>'$' from study where key = 'study'") == [("small",)]


def test_depths_of_hand_worked_cases(study: SmallStudy) -> None:
    study.load()
    found = study.query(
        """select first_correct_layer, settled_layer, refinement_depth, first_predicted_layer,
        prediction_depth, own_token_refinement_depth from token_depths order by context_id, answer_index"""
    )
    cases = list(HAND_WORKED.values())
    wanted = [(*cases[i % len(cases)][1], *cases[i % len(cases)][2]) for i in range(16)]
    assert found == wanted


def test_distances_of_the_gold_document_by_hand(study: SmallStudy) -> None:
    """In the small study it stands 6 tokens before the end of a prompt of 7, or 4."""
    study.load()
    found = study.query("select distinct gold_index, gold_distance, gold_distance_share from token_depths order by all")
    assert found == [(0, 6, 6 / 7), (1, 4, 4 / 7)]
    assert study.query("select gold_index, gold_distance from refinement_curve") == [(0, 6.0), (1, 4.0)]


def with_values(study: SmallStudy, index: int, **values: list[float]) -> None:
    """Set values of question 0's first context, answer token ``index``, layer by layer, and load the study."""
    rows = [row for row in study.rows[0] if (row["context_id"], row["answer_index"]) == ("main/q0/2/0", index)]
    for layer, row in enumerate(rows):
        row |= {name: of_layer[layer] for name, of_layer in values.items()}
    study.write_records(0)
    study.load()


def of_token(study: SmallStudy, index: int, *columns: str) -> tuple[Any, ...]:
    """Return columns of view token_depths of the answer token that ``with_values`` sets."""
    where = f"context_id = 'main/q0/2/0' and answer_index = {index}"
    return study.query(f"select {', '.join(columns)} from token_depths where {where}")[0]


DEPTHS = ("first_correct_layer", "settled_layer", "refinement_depth")


def test_depths_at_the_top_five_and_ten(study: SmallStudy) -> None:
    with_values(study, 0, target_rank=[20, 7, 4, 1], top1_id=[WRONG, WRONG, WRONG, TARGET])
    assert of_token(study, 0, "final_rank", *DEPTHS) == (1, 3, 3, 0)
    assert of_token(study, 0, *(f"{name}_top5" for name in DEPTHS)) == (2, 2, 0)
    assert of_token(study, 0, *(f"{name}_top10" for name in DEPTHS)) == (1, 1, 0)


def test_a_token_may_end_among_the_top_five_and_not_be_right(study: SmallStudy) -> None:
    with_values(study, 0, target_rank=[4, 30, 8, 3], top1_id=[WRONG, WRONG, WRONG, OTHER])
    assert of_token(study, 0, "final_rank", *DEPTHS, "soft_depth") == (3, None, None, None, None)
    assert of_token(study, 0, *(f"{name}_top5" for name in DEPTHS)) == (0, 3, 3)
    assert of_token(study, 0, *(f"{name}_top10" for name in DEPTHS)) == (0, 2, 2)
    bits = study.query(
        "select right_at, right_at_top5, right_at_top10 from token_layers "
        "where context_id = 'main/q0/2/0' and answer_index = 0"
    )
    assert bits == [(0b0000, 0b1001, 0b1101)]


def test_soft_depth_of_the_worked_example(study: SmallStudy) -> None:
    """Of p = 0.1, 0.5, 0.3 and 0.4 at layer L: 1 − 1/4, 0 (above p at L), 1 − 3/4."""
    logprobs = [math.log(p) for p in (0.1, 0.5, 0.3, 0.4)]
    own = [math.log(p) for p in (0.2, 0.2, 0.4, 0.4)]
    tops = {"top1_id": [TARGET] * L + [TARGET], "target_rank": [1] * (L + 1), "top1_logprob": logprobs}
    with_values(study, 0, target_logprob=logprobs, own_token_logprob=own, **tops)
    # Records are in single precision.
    assert of_token(study, 0, "soft_depth", "own_token_soft_depth") == pytest.approx((1.0, 1.0), abs=1e-6)


def test_soft_depth_needs_no_probability_that_a_float_can_hold(study: SmallStudy) -> None:
    """At log p = −2000 the probability itself is 0 in double precision, and its ratio to another is not."""
    tops = {"top1_id": [TARGET] * (L + 1), "target_rank": [1] * (L + 1), "top1_logprob": [-2000.0] * (L + 1)}
    low = [-2000 - math.log(2), -2000.0, -9000.0, -2000.0]
    with_values(study, 0, target_logprob=low, own_token_logprob=low, **tops)
    assert of_token(study, 0, "soft_depth", "own_token_soft_depth") == pytest.approx((1.5, 1.5), abs=1e-3)


@pytest.mark.parametrize(("threshold", "settled"), [(0.125, 3), (0.3, 1), (0.6, 0), (1e-9, 3)])
def test_the_divergence_settles_below_a_threshold(study: SmallStudy, threshold: float, settled: int) -> None:
    with_values(study, 0, jsd_to_final=[0.5, 0.1, 0.2, 1e-6])  # of layer L: rounding
    found = study.query(
        f"select jsd_settled_layer from jsd_settled_layers({threshold}) "
        "where context_id = 'main/q0/2/0' and answer_index = 0"
    )
    assert found == [(settled,)]


def test_right_layers_agree_with_a_plain_count(study: SmallStudy) -> None:
    study.load()
    right: dict[tuple[str, int], int] = {}
    for row in [row for shard in study.rows.values() for row in shard]:
        key = (row["context_id"], row["answer_index"])
        right[key] = right.get(key, 0) + (row["top1_id"] == row["target_id"])
    found = study.query("select context_id, answer_index, n_right_layers from token_flips")
    assert {(context, index): n for context, index, n in found} == right


def test_the_curve_is_over_tokens_that_end_right(study: SmallStudy) -> None:
    study.load()
    cases = list(HAND_WORKED.values())
    # Question n, place p, token t holds case 4n + 2p + t.
    depths = [cases[(4 * n + t) % 7][1][2] for n in range(4) for t in (0, 1)]
    right = [depth for depth in depths if depth is not None]
    row = study.query("select n_questions, n_tokens, n_right, refinement_depth from refinement_curve")[0]
    assert row == (4, 8, len(right), pytest.approx(sum(right) / len(right)))


def test_accuracies_of_first_tokens_all_tokens_and_answers(study: SmallStudy) -> None:
    study.load()
    cases = list(HAND_WORKED.values())
    right = [[cases[(4 * n + t) % 7][0][-1] == TARGET for t in (0, 1)] for n in range(4)]
    row = study.query(
        "select n_contexts, n_tokens, first_token_accuracy, token_accuracy, whole_answer_accuracy from accuracy_curve"
    )[0]
    assert row == (
        4,
        8,
        sum(first for first, _ in right) / 4,
        sum(sum(pair) for pair in right) / 8,
        sum(all(pair) for pair in right) / 4,
    )


def test_essential_layers_count_and_rise(study: SmallStudy) -> None:
    study.load()
    cases = [list(HAND_WORKED.values())[i % 7] for i in range(16)]
    right = [case for case in cases if case[1][1] is not None]
    rows = study.query("select layer, n_right, share_first_right, share_settled, mean_rise from essential_layers")
    assert [row[0] for row in rows] == [0, 1, 2, 3]
    for layer, n_right, first, settled, rise in rows:
        assert n_right == len(right)
        assert first == pytest.approx(sum(case[1][0] == layer for case in right) / len(right))
        assert settled == pytest.approx(sum(case[1][1] == layer for case in right) / len(right))
        # target_logprob is −(3 − layer)²: it rises by 5, 3 and 1.
        assert rise == (None if layer == 0 else pytest.approx([5, 3, 1][layer - 1]))


@pytest.mark.parametrize("logprob", [-1e9, -2e9, -3e38])
def test_a_log_probability_beyond_measure_is_bounded(study: SmallStudy, logprob: float) -> None:
    """The decimal type in which they are summed has no room for them."""
    cases = [list(HAND_WORKED.values())[i % 7] for i in range(16)]
    n_right = sum(case[1][1] is not None for case in cases)
    for row in study.rows[0]:
        if row["context_id"] == "main/q0/2/0" and row["layer"] == 0:  # two tokens, both right at layer L
            row["target_logprob"] = logprob
    study.write_records(0)
    study.load()
    sums = study.query("select layer, sum_logprob from context_layers where context_id = 'main/q0/2/0' order by layer")
    assert sums == [(0, -2 * 9e8), (1, -8), (2, -2), (3, 0)]
    rises = dict(study.query("select layer, mean_rise from essential_layers"))
    assert rises[1] == pytest.approx((2 * (9e8 - 4) + 5 * (n_right - 2)) / n_right)
    assert rises[2] == pytest.approx(3)


def test_flips_of_hand_worked_cases(study: SmallStudy) -> None:
    study.load()
    found = study.query("select n_lost, n_regained from token_flips order by context_id, answer_index")
    tops = [[top == TARGET for top in case[0]] for case in HAND_WORKED.values()]
    lost = [sum(a and not b for a, b in itertools.pairwise(top)) for top in tops]
    # A token comes back whenever it becomes right after it was lost: once more than it is first right, if at all.
    regained = [sum(b and not a for a, b in itertools.pairwise([False, *top])) - any(top) for top in tops]
    assert found == [(lost[i % 7], regained[i % 7]) for i in range(16)]


def test_tokens_are_counted_in_each_document_once(study: SmallStudy) -> None:
    study.documents[1] = Document("q1", "t", "w7 w7 w3")
    study.load()
    assert study.query("select * exclude (title) from documents") == [("q0", "w7 is it"), ("q1", "w7 w7 w3")]
    counts = dict(study.query("select token_id, n from token_counts"))
    assert {token: counts.get(token) for token in (7, 3, 5)} == {7: 3, 3: 1, 5: None}
    ranks = dict(study.query("select token_id, rank from token_frequencies"))
    assert ranks[7] == 1


def test_a_document_that_the_dataset_has_no_more_is_named(study: SmallStudy) -> None:
    del study.documents[1]
    assert_refused(study, "1 documents of contexts are not in the dataset", "q1")


def test_two_loads_hold_the_same_rows(study: SmallStudy) -> None:
    study.load()
    first = study.query("select * from layer_records order by all")
    study.load()
    assert study.query("select * from layer_records order by all") == first


def assert_refused(study: SmallStudy, *says: str) -> None:
    """Loading fails with a message that holds all of ``says``; an earlier database is as it was."""
    study.target.write_bytes(b"an earlier database")
    with pytest.raises(StoreError) as error:
        study.load()
    for words in says:
        assert words in str(error.value)
    assert study.target.read_bytes() == b"an earlier database"
    assert not list(study.folder.glob(".part-*"))


def test_a_shard_not_given_is_named(study: SmallStudy) -> None:
    del study.record_shards[1]
    assert_refused(study, "missing", "shard 1")


def test_a_shard_given_twice_is_named(study: SmallStudy) -> None:
    study.record_shards.append(study.record_shards[0])
    assert_refused(study, "given twice", "shard 0")


def test_a_missing_file_is_named(study: SmallStudy) -> None:
    study.record_shards[1].answer_tokens.unlink()
    assert_refused(study, "tokens-1 is missing", "shard 1")


def test_a_file_in_anothers_place_is_named(study: SmallStudy) -> None:
    study.record_shards[1] = replace(study.record_shards[1], records=study.record_shards[0].records)
    assert_refused(study, "holds the records of", "shard 0", "records-0")


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda rows: rows.pop(5), id="a layer is missing"),
        pytest.param(lambda rows: rows.append(rows[-1]), id="a layer is doubled"),
        pytest.param(
            lambda rows: rows.extend(layer_rows(rows[0]["context_id"], 0, [1, 1, 1, 1])), id="a token is doubled"
        ),
        pytest.param(lambda rows: rows[3].update(layer=9), id="a layer has another number"),
    ],
)
def test_records_that_are_not_each_layer_once_are_refused(study: SmallStudy, spoil: Any) -> None:
    spoil(study.rows[1])
    study.write_records(1)
    assert_refused(study, "layer record missing, doubled or too many", "shard 1")


def test_records_of_another_target_are_refused(study: SmallStudy) -> None:
    study.rows[1][0]["target_id"] = OTHER
    study.write_records(1)
    assert_refused(study, "another target", "shard 1")


def test_a_context_without_records_is_refused(study: SmallStudy) -> None:
    study.rows[1] = [row for row in study.rows[1] if row["context_id"] != "main/q3/2/1"]
    study.write_records(1)
    assert_refused(study, "without a row in fits", "main/q3/2/1", "shard 1")


def test_records_of_an_unknown_context_are_refused(study: SmallStudy) -> None:
    study.rows[1] += layer_rows("main/q9/2/0", 0, [1, 1, 1, 1])
    study.write_records(1)
    assert_refused(study, "contexts unknown", "shard 1")


def test_a_context_in_two_shards_is_refused(study: SmallStudy) -> None:
    study.context_shards[1] = replace(study.context_shards[1], contexts=study.context_shards[0].contexts)
    study.write_records(1)
    assert_refused(study, "another shard holds", "shard 1")


@pytest.mark.parametrize("other", ["contexts", "model"])
def test_a_shard_of_another_study_with_the_same_names_is_refused(study: SmallStudy, other: str) -> None:
    if other == "contexts":
        file = study.context_shards[1].contexts
        table = pq.read_table(file)
        answers = pa.array([" another"] * table.num_rows)
        write_table(table.set_column(table.column_names.index("answer"), "answer", answers), file)
    else:
        study.write_records(1, made_from={**study.made_from(1), "model": "0" * 64})
    assert_refused(study, "shard 1", f"made from {'other contexts' if other == 'contexts' else 'another model'}")


def test_a_skipped_context_needs_no_records(study: SmallStudy) -> None:
    study.rows[1] = [row for row in study.rows[1] if row["context_id"] != "main/q3/2/1"]
    files = study.write_records(1)
    fits = [
        {"context_id": f"main/q{n}/2/{p}", "fit": "whole", "n_tokens": 9, "n_tokens_cut": 0, "reason": None}
        for n, p in ((2, 0), (2, 1), (3, 0))
    ]
    skipped = {"context_id": "main/q3/2/1", "fit": "skipped", "n_tokens": 99, "n_tokens_cut": 0, "reason": "long"}
    write_table(pa.Table.from_pylist([*fits, skipped], schema=FITS), files.fits)
    study.load()
    assert study.query("select count(*) from fits where fit = 'skipped'") == [(1,)]


def test_a_model_may_have_as_many_blocks_as_a_number_has_bits(study: SmallStudy) -> None:
    blocks = 126
    refuse_too_many_blocks("m", blocks)
    with pytest.raises(StoreError, match="m has 127 blocks"):
        refuse_too_many_blocks("m", blocks + 1)
    for shard in (0, 1):
        top1 = {(r["context_id"], r["answer_index"]): r for r in study.rows[shard]}
        study.rows[shard] = [
            # Right at every even layer.
            {**row, "layer": layer, "top1_id": TARGET if layer % 2 == 0 else TARGET + 1, "target_id": TARGET}
            for row in top1.values()
            for layer in range(blocks + 1)
        ]
    study.record_shards = [study.write_records(shard, n_layers=blocks) for shard in (0, 1)]
    study.load()
    assert study.query("select distinct n_lost, n_regained, n_right_layers from token_flips") == [(63, 63, 64)]
    found = study.query("select distinct n_top1, n_lost, n_regained, n_settled from context_layers where layer = 126")
    assert found == [(2, 0, 2, 2)]
