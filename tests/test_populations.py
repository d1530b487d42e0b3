"""First content tokens, the populations of a curve, and accuracy beside closed book: by hand and by plain counting."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.curves import accuracy_curve, refinement_curve
from lenscore.analysis.groups import place_in_answer
from lenscore.analysis.populations import POPULATIONS, selections
from lenscore.analysis.shape.study_shapes import shapes_of_study
from lenscore.analysis.tables import study_tables
from lenscore.analysis.token_classes import token_class_counts
from lenscore.study.analysis import AnalysisSpec, PrimaryAnalysis
from tests.small_study import TARGET, L, SmallStudy
from tests.test_analysis import cell, depth_row

PRIMARY = PrimaryAnalysis()
BOOTSTRAP = Bootstrap(resamples=300, confidence=0.95, seed=0)
YEAR = ("space", "digit", "digit")  # " 19" as a bare space and two digits
NAME = ("word start", "word part", "punctuation")


def answer(question: str, place: int, classes: tuple[str, ...], right: str, **other: Any) -> list[dict[str, Any]]:
    """The tokens of an answer in one context; ``right`` has a 1 for each that is right. A right token's depth is 2."""
    content = [index for index, name in enumerate(classes) if name not in ("space", "punctuation")]
    first = content[0] if content else None
    return [
        depth_row(question, place, index, *((1, 3) if sign == "1" else (None, None)), **other)
        | {"token_class": name, "first_content_index": first, "first_index": first}
        for index, (name, sign) in enumerate(zip(classes, right, strict=True))
    ]


def years_and_names() -> pd.DataFrame:
    """A year, of which the space is always right, and a name; three places."""
    return pd.DataFrame([
        *answer("year", 0, YEAR, "100"), *answer("year", 1, YEAR, "101"), *answer("year", 2, YEAR, "111"),
        *answer("name", 0, NAME, "111"), *answer("name", 1, NAME, "010"), *answer("name", 2, NAME, "101"),
    ])  # fmt: skip


def counts(table: pd.DataFrame, **where: Any) -> list[int]:
    """The observations of refinement depth at each place."""
    rows = table[(table["measure"] == "refinement_depth") & (table["condition"] == "documents")]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    found = dict(zip(rows["gold_index"], rows["n_tokens"], strict=True))
    return [found.get(place, 0) for place in range(3)]


@pytest.mark.parametrize(
    ("tokens", "population", "wanted"),
    [
        ("all", "each_position", [1 + 3, 2 + 1, 3 + 2]),
        ("content", "each_position", [0 + 2, 1 + 1, 2 + 1]),
        ("first", "each_position", [0 + 1, 0 + 0, 1 + 1]),
        # The space is right everywhere; of the name, the tokens are each wrong somewhere.
        ("all", "every_position", [1, 1, 1]),
        ("content", "every_position", [0, 0, 0]),
        # The last digit at the second place continues what the model did not begin.
        ("all", "first_right", [0 + 3, 0, 3 + 2]),
        ("content", "first_right", [0 + 2, 0, 2 + 1]),
        ("all", "answer_right", [3, 0, 3]),
        ("content", "answer_right", [2, 0, 2]),
    ],
)
def test_populations_by_hand(tokens: str, population: str, wanted: list[int]) -> None:
    table = refinement_curve(years_and_names(), BOOTSTRAP, PRIMARY)
    assert counts(table, tokens=tokens, population=population) == wanted


def test_own_tokens_of_an_answer_begun_right_need_not_be_right() -> None:
    table = refinement_curve(years_and_names(), BOOTSTRAP, PRIMARY)
    own = table[(table["measure"] == "own_token_refinement_depth") & (table["tokens"] == "all")]
    at = {
        population: dict(zip(rows["gold_index"], rows["n_tokens"], strict=True))
        for population, rows in own.groupby("population")
    }
    assert at == {
        "each_position": {0: 6, 1: 6, 2: 6},
        "every_position": {0: 1, 1: 1, 2: 1},
        "first_right": {0: 3, 2: 6},
        "answer_right": {0: 3, 2: 3},
    }


@given(st.data())
def test_selections_are_what_plain_counting_gives(data: st.DataObject) -> None:
    some_classes = st.lists(st.sampled_from(["space", "punctuation", "digit", "word part"]), min_size=1, max_size=3)
    classes = {question: tuple(data.draw(some_classes)) for question in "abc"}
    right = {
        (question, place): "".join(data.draw(st.sampled_from("01")) for _ in classes[question])
        for question in "abc"
        for place in range(2)
    }
    rows = pd.DataFrame([
        row
        for (question, place), signs in right.items()
        for row in answer(question, place, classes[question], signs, n_documents=2)
    ])  # fmt: skip
    content = {q: [i for i, name in enumerate(names) if name in ("digit", "word part")] for q, names in classes.items()}
    kept = {
        "all": {q: list(range(len(names))) for q, names in classes.items()},
        "content": content,
        "first": {q: indices[:1] for q, indices in content.items()},
    }

    def belongs(question: str, place: int, index: int, population: str) -> bool:
        signs, first = right[question, place], content[question][:1]
        return {
            "each_position": True,
            "every_position": all(right[question, other][index] == "1" for other in range(2)),
            "first_right": bool(first) and signs[first[0]] == "1",
            "answer_right": set(signs) == {"1"},
        }[population]

    seen = set()
    for (tokens, population), ending, chosen in selections(rows):
        seen.add((tokens, population))
        wanted = {
            (q, p, i) for (q, p) in right for i in kept[tokens][q] if belongs(q, p, i, population)
        }  # fmt: skip
        assert set(chosen[["question_id", "gold_index", "answer_index"]].itertuples(index=False, name=None)) == wanted
        assert set(ending[["question_id", "gold_index", "answer_index"]].itertuples(index=False, name=None)) == {
            (q, p, i) for q, p, i in wanted if right[q, p][i] == "1"
        }
    assert seen == {
        *((tokens, population) for tokens in ("all", "content") for population in POPULATIONS),
        ("first", "each_position"), ("first", "every_position"),
    }  # fmt: skip


def test_first_right_of_first_tokens_would_be_each_positions_own() -> None:
    rows = years_and_names()
    begun = {}
    for (tokens, population), ending, _ in selections(rows):
        if (tokens, population) == ("all", "first_right"):
            begun = set(ending[ending["answer_index"] == ending["first_index"]].index)
        if (tokens, population) == ("first", "each_position"):
            own = set(ending.index)
    assert begun == own


def test_every_selection_is_tested_for_its_shape() -> None:
    shapes = shapes_of_study(years_and_names(), AnalysisSpec(resamples=300, permutations=99))
    assert set(zip(shapes["tokens"], shapes["population"], strict=True)) >= {
        ("content", "each_position"), ("all", "first_right"), ("all", "answer_right"), ("first", "each_position"),
    }  # fmt: skip


def test_accuracies_by_hand() -> None:
    table = accuracy_curve(years_and_names(), BOOTSTRAP)
    means = {
        measure: [cell(table, measure=measure, gold_index=place)["mean"] for place in range(3)]
        for measure in table["measure"].unique()
    }
    assert means == {
        "first_token": [1 / 2, 0, 1],
        "content_tokens": pytest.approx([2 / 4, 2 / 4, 3 / 4]),
        "answer_tokens": pytest.approx([4 / 6, 3 / 6, 5 / 6]),
        "whole_answer": [1 / 2, 0, 1 / 2],
        "right_in_first_right": pytest.approx([3 / 4, 0, 1]),
        "right_in_answer_right": pytest.approx([3 / 4, 0, 3 / 5]),
    }
    assert table["above_closed_book"].isna().all()


def closed_book(question: str, classes: tuple[str, ...], right: str) -> list[dict[str, Any]]:
    rows = answer(question, 0, classes, right, condition="closed_book", gold_index=None, relative_position=None)
    return [row | {"n_documents": 0, "context_id": f"main/{question}/closed"} for row in rows]


def test_closed_book_is_compared_on_the_same_tokens() -> None:
    rows = pd.concat([
        years_and_names(),
        pd.DataFrame([*closed_book("year", YEAR, "111"), *closed_book("name", NAME, "000"),
                      *closed_book("other", NAME, "111")]),  # has no context with documents
    ])  # fmt: skip
    table = accuracy_curve(rows, BOOTSTRAP)
    first = [cell(table, measure="first_token", gold_index=place) for place in range(3)]
    # Year: closed book right, in context 0, 0, 1; name: closed book wrong, in context 1, 0, 1.
    assert [row["above_closed_book"] for row in first] == [0, -1 / 2, 1 / 2]
    assert [(row["above_low"], row["above_high"]) for row in first] == [(-1, 1), (-1, 0), (0, 1)]
    assert cell(table, measure="answer_tokens", gold_index=2)["above_closed_book"] == pytest.approx(5 / 6 - 3 / 6)
    alone = cell(table, measure="first_token", condition="closed_book")
    assert alone["mean"] == pytest.approx(2 / 3)
    assert np.isnan(alone["above_closed_book"])


def test_places_in_an_answer() -> None:
    rows = pd.DataFrame([*answer("year", 0, YEAR, "111"), *answer("none", 0, ("space", "punctuation"), "11")])
    assert place_in_answer(rows).tolist() == ["leading", "first", "later", "leading", "leading"]
    assert place_in_answer(rows.assign(first_index=0)).tolist() == ["first", "later", "later", "first", "later"]


def test_each_answer_is_counted_once() -> None:
    table = token_class_counts(years_and_names())
    assert table.drop(columns=["model", "context_set"]).values.tolist() == [
        ["digit", 2, 0, 1], ["punctuation", 1, 0, 0], ["space", 1, 1, 0], ["word part", 1, 0, 0],
        ["word start", 1, 1, 1],
    ]  # fmt: skip


@pytest.mark.slow
def test_the_setting_says_which_token_is_first(tmp_path: Path) -> None:
    """Of a database whose answers begin with a space that is always right."""
    study = SmallStudy(tmp_path)
    for shard, rows in study.rows.items():
        for row in rows:
            if row["answer_index"] == 0 and row["layer"] == L:
                row["top1_id"] = TARGET
        study.write_records(shard)
    study.load()
    with duckdb.connect(str(study.target)) as database:
        database.execute("update answer_tokens set token_class = 'space' where answer_index = 0")
    second = study.query(
        "select gold_index, avg(final_right::int) from token_depths where answer_index = 1 group by all order by all"
    )
    assert all(mean < 1 for _, mean in second)
    spec = AnalysisSpec(resamples=100, permutations=99)
    tables, _ = study_tables(study.target, spec)
    as_paper, findings = study_tables(study.target, spec.model_copy(update={"first_token": "any"}))
    assert findings["settings"]["first_token"] == "any"
    for found, wanted in ((tables, second), (as_paper, [(place, 1.0) for place, _ in second])):
        curve = found["accuracy_curve"]
        of_first = curve[curve["measure"] == "first_token"]
        assert list(zip(of_first["gold_index"], of_first["mean"], strict=True)) == wanted
    view = study.query("select first_token_accuracy, content_token_accuracy from accuracy_curve order by gold_index")
    assert view == [(mean, mean) for _, mean in second]
    for found, places in ((tables, {"leading", "first"}), (as_paper, {"first", "later"})):
        table = found["depth_by_group"]
        assert set(table[table["grouping"] == "place_in_answer"]["group"]) == places
    assert tables["token_classes"]["n_opening"].tolist() == [4, 0]
