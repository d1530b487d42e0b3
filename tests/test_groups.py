"""Depth by group of answer tokens, controls, orders: on cases worked by hand and against plain computations."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lenscore.analysis.answer_kinds import KINDS, answer_kind
from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.controls import controls
from lenscore.analysis.groups import BANDS, MEASURES, depth_by_group, frequency_band
from lenscore.analysis.orders import mean_squares, order_variance
from lenscore.analysis.populations import right_at_every_position, selections
from tests.test_analysis import cell, depth_row, three_questions

BOOTSTRAP = Bootstrap(resamples=300, confidence=0.95, seed=0)


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("date", ["1969", "the 1980s", "April 1917", "March 31, 2017", "4 January 2011", "April 1st", "2015,", "May",
                  "1939-45", "1914 – 1918", "in 1066", "12/05/2018", "the 19th century", "4th of July", "Sept. 2001"]),
        ("number", ["201", "1,000", "45%", "$75,000", "seven", "332 members", "about 24 hours", "The eighth",
                    "8,850 km",
                    "twenty-one", "3.5", "691 CE", "second"]),
        ("name", ["Bob Dylan", "Chicago", "Kanab, Utah", "The Hunger Games", "in the Gospel of Luke", "Procol Harum",
                  "Gladys Knight & the Pips", "Ludwig van Beethoven", "Acts 1:13", "Émile Zola", "“Yesterday”"]),
        ("other", ["entry level to level 7", "electrical fire", "ancient Greece", "the nucleus", "erosion", "of the"]),
    ],
)  # fmt: skip
def test_kinds_of_answers(kind: str, answers: list[str]) -> None:
    assert {answer: answer_kind(answer) for answer in answers} == dict.fromkeys(answers, kind)


@given(st.text(max_size=60))
def test_every_answer_has_a_kind(answer: str) -> None:
    assert answer_kind(answer) in KINDS
    assert answer_kind(f"  {answer} ") == answer_kind(answer)


def test_bands_end_where_they_say() -> None:
    ranks = pd.Series([1, 10, 11, 100, 101, 1000, 1001, 49152, None])
    assert frequency_band(ranks).tolist() == [BANDS[i] for i in (0, 0, 1, 1, 2, 2, 3, 3, 3)]


def with_texts(rows: pd.DataFrame) -> pd.DataFrame:
    """Three questions' tokens with what groups are made of."""
    return rows.assign(
        answer=rows["question_id"].map({"a": " Bob Dylan", "b": " 1969", "c": " erosion"}),
        frequency_rank=[5, 2000, 50, 500, 5, 5, 5, None, None, None],
        n_lost=[1, 0, 2, 0, 0, 1, 0, 0, 3, 1],
        target_logprob=np.linspace(-9, 0, 10),
    )


@pytest.fixture(scope="module")
def by_group() -> pd.DataFrame:
    return depth_by_group(with_texts(three_questions()), BOOTSTRAP)


def of_all(table: pd.DataFrame) -> pd.DataFrame:
    """The rows pooled over numbers of documents."""
    return table[table["n_documents"].isna()]


def test_each_number_of_documents_has_rows_of_its_own(by_group: pd.DataFrame) -> None:
    """The rows of one number of documents do not depend on the others."""
    three = with_texts(three_questions())
    five = three.assign(n_documents=5, final_right=False, context_id="main/other")
    both = depth_by_group(pd.concat([three, five]), BOOTSTRAP)
    columns = ["grouping", "group", "measure", "mean", "low", "high", "n_questions", "n_tokens"]
    for n, wanted in ((3, by_group[by_group["n_documents"] == 3]), (3, of_all(by_group))):
        found = both[both["n_documents"] == n]
        pd.testing.assert_frame_equal(found[columns].reset_index(drop=True), wanted[columns].reset_index(drop=True))
    assert cell(of_all(both), grouping="all", measure="accuracy")["mean"] == pytest.approx(8 / 20)
    assert cell(both[both["n_documents"] == 5], grouping="all", measure="accuracy")["mean"] == 0


def test_groups_by_hand(by_group: pd.DataFrame) -> None:
    table = of_all(by_group)
    everything = cell(table, grouping="all", measure="accuracy")
    assert (everything["mean"], everything["n_tokens"], everything["n_questions"]) == (8 / 10, 10, 3)
    # Of the nine tokens that are right at some layer, five are lost at least once, eight times in all.
    assert cell(table, grouping="all", measure="lost_again")["mean"] == pytest.approx(5 / 9)
    assert cell(table, grouping="all", measure="n_lost")["mean"] == pytest.approx(8 / 9)
    date = cell(table, grouping="answer_kind", group="date", measure="refinement_depth")
    assert (date["mean"], date["n_tokens"]) == (2.0, 2)
    later = cell(table, grouping="place_in_answer", group="later", measure="settled_layer")
    assert (later["mean"], later["n_tokens"]) == (5.0, 1)
    rare = cell(table, grouping="frequency_band", group=BANDS[3], measure="accuracy")
    assert (rare["mean"], rare["n_tokens"]) == (3 / 4, 4)
    # The token that is right in the middle alone has a first-correct layer, but not among those that end right.
    kind = cell(table, grouping="answer_kind", group="other", measure="first_correct_layer")
    assert (kind["mean"], kind["n_tokens"]) == (3.0, 2)


@pytest.mark.parametrize("grouping", ["frequency_band", "place_in_answer", "answer_kind"])
def test_groups_part_the_tokens(by_group: pd.DataFrame, grouping: str) -> None:
    table = of_all(by_group)
    whole_groups = table[table["grouping"] == "all"]
    assert whole_groups["measure"].tolist() == list(MEASURES)
    for measure, whole in whole_groups.groupby("measure"):
        parts = table[(table["grouping"] == grouping) & (table["measure"] == measure)]
        assert parts["n_tokens"].sum() == whole["n_tokens"].item()
        assert (parts["mean"] * parts["n_tokens"]).sum() == pytest.approx(
            whole["mean"].item() * whole["n_tokens"].item()
        )


def test_the_same_tokens_at_every_position() -> None:
    everywhere = right_at_every_position(three_questions())
    # a's first token is right at all three places; its second stands at one place only, b's and c's are wrong at one.
    assert set(zip(everywhere["question_id"], everywhere["answer_index"], strict=True)) == {("a", 0)}
    assert len(everywhere) == 3


@given(
    arrays.arrays(bool, (4, 3, 2)),
)
def test_every_position_is_the_intersection(right: np.ndarray) -> None:
    rows = pd.DataFrame(
        [
            depth_row(
                f"q{q}", place, index, 1 if right[q, place, index] else None, 2 if right[q, place, index] else None
            )
            for q in range(4)
            for place in range(3)
            for index in range(2)
        ]
    )
    found = {selection: (ending, chosen) for selection, ending, chosen in selections(rows)}
    for tokens, indices in (("all", (0, 1)), ("first", (0,))):
        wanted = {(f"q{q}", i) for q in range(4) for i in indices if right[q, :, i].all()}
        ending, chosen = found[tokens, "every_position"]
        assert set(zip(ending["question_id"], ending["answer_index"], strict=True)) == wanted
        assert len(ending) == len(chosen) == 3 * len(wanted)
        ending, chosen = found[tokens, "each_position"]
        assert len(ending) == right[:, :, list(indices)].sum()
        assert len(chosen) == 4 * 3 * len(indices)


def control_rows() -> pd.DataFrame:
    """Two questions, three places, with controls: 'a' loses by them, 'b' does not."""
    rows = [depth_row(q, place, 0, 1, 1 + place) | {"target_logprob": -1.0} for q in "ab" for place in range(3)]
    for control in ("closed_book", "oracle"):
        place = {"gold_index": None, "relative_position": None, "condition": control}
        wrong = depth_row("a", 0, 0, None, None, **place) | {"target_logprob": -4.0}
        rows += [wrong, depth_row("b", 0, 0, 0, 3, **place) | {"target_logprob": -2.0}]
    for place in range(3):
        rows.append(depth_row("a", place, 0, None, None, condition="shuffled_gold") | {"target_logprob": -3.0 - place})
        rows.append(depth_row("b", place, 0, 2, 2, condition="shuffled_gold") | {"target_logprob": -1.0})
    other = depth_row("b", 0, 0, None, None, distractor_order=1) | {"target_logprob": -99.0}
    return pd.DataFrame([*rows, other]).assign(prediction_depth=5)


def test_controls_by_hand() -> None:
    table = controls(control_rows(), confidence=0.95)
    accuracy = cell(table, control="closed_book", measure="accuracy")
    assert (accuracy["mean"], accuracy["control_mean"], accuracy["difference"]) == (1.0, 0.5, 0.5)
    assert (accuracy["n_tokens"], accuracy["n_questions"]) == (2, 2)
    assert 0 <= accuracy["low"] <= 0.5 <= accuracy["high"] <= 1
    assert cell(table, control="shuffled_gold", measure="target_logprob")["difference"] == pytest.approx(3.0 / 2)
    # Only b's token ends right on both sides: 1 layer on average among the documents, 3 in the oracle.
    depth = cell(table, control="oracle", measure="refinement_depth")
    assert (depth["mean"], depth["control_mean"], depth["difference"], depth["n_tokens"]) == (1.0, 3.0, -2.0, 1)


def test_a_study_without_controls_has_no_rows() -> None:
    rows = control_rows()
    assert controls(rows[rows["condition"] == "documents"], confidence=0.95).empty


@given(arrays.arrays(float, (3, 4, 5), elements=st.floats(-50, 50)))
def test_mean_squares_add_up_to_the_whole(values: np.ndarray) -> None:
    squares = mean_squares(values)
    for token, (position, order, rest) in zip(values, squares, strict=True):
        total = ((token - token.mean()) ** 2).sum()
        assert 3 * position + 4 * order + 12 * rest == pytest.approx(total, abs=1e-6)
        # The plain textbook sums, place by place.
        grand = sum(sum(row) for row in token.tolist()) / 20
        plain = sum(5 * (sum(row) / 5 - grand) ** 2 for row in token.tolist()) / 3
        assert position == pytest.approx(plain, abs=1e-6)


def simulated(rng: np.random.Generator, sd_position: float, sd_order: float, sd_rest: float) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for q in range(120):
        base = rng.normal(scale=10)
        position, order = rng.normal(scale=sd_position, size=5), rng.normal(scale=sd_order, size=4)
        for place in range(5):
            for drawn in range(4):
                value = base + position[place] + order[drawn] + rng.normal(scale=sd_rest)
                rows.append(
                    depth_row(f"q{q}", place, 0, 1, 1, n_documents=5, distractor_order=drawn)
                    | {"own_token_refinement_depth": value, "target_logprob": 0.0}
                )
    return pd.DataFrame(rows)


def test_components_of_a_simulated_study_are_found() -> None:
    table = order_variance(simulated(np.random.default_rng(0), 2.0, 1.0, 0.5), BOOTSTRAP)
    found = cell(table, measure="own_token_refinement_depth")
    assert (found["n_orders"], found["n_positions"], found["n_tokens"]) == (4, 5, 120)
    assert found["sd_position"] == pytest.approx(2.0, rel=0.15)
    assert found["sd_order"] == pytest.approx(math.hypot(1.0, 0.5), rel=0.15)
    assert found["sd_position_low"] < 2.0 < found["sd_position_high"]
    nothing = cell(table, measure="target_logprob")
    assert (nothing["sd_position"], nothing["sd_order"]) == (0.0, 0.0)


def test_one_order_has_no_variance() -> None:
    rows = with_texts(three_questions())
    assert order_variance(rows, BOOTSTRAP).empty
