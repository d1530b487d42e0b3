"""Which contexts the explorer shows, on cells worked by hand, and in what form they stand in the page."""

from typing import Any

import pandas as pd
import pytest

from lenscore.analysis.examples import KINDS, choose_examples, study_examples
from lenscore.report.charts.grid import cells_of
from lenscore.report.charts.token_text import visible_text
from lenscore.report.page.explorer import explorer_data
from lenscore.report.page.inline_data import packed_spec, script_json, within_budget
from tests.made_study import LENGTHS, MadeStudy
from tests.test_analysis import depth_row


def token(
    question: str, first: int | None, settled: int | None, *, n_lost: int = 0, n_right: int = 0
) -> dict[str, Any]:
    return depth_row(question, 1, 0, first, settled, n_lost=n_lost, n_right_layers=n_right)


def chosen(*tokens: dict[str, Any], per_cell: int = 1) -> dict[str, list[str]]:
    table = choose_examples(pd.DataFrame(tokens), per_cell)
    return {
        kind: [name.split("/")[1] for name in rows["context_id"]] for kind, rows in table.groupby("kind", sort=False)
    }


def test_each_kind_by_its_rule() -> None:
    found = chosen(
        token("a", 2, 2), token("b", 2, 3), token("c", 1, 9, n_lost=1), token("d", 4, 6, n_lost=3),
        token("e", 3, None, n_right=2), token("f", 5, None, n_right=4), token("g", None, None),
    )  # fmt: skip
    # The depths are 0, 1, 8 and 2, their median 1.5: b and d are as near, b comes first.
    assert found == {"typical": ["b"], "deepest": ["c"], "lost": ["f"], "flipped": ["d"]}


def test_a_context_is_chosen_once_and_a_kind_may_have_none() -> None:
    assert chosen(token("a", 1, 5, n_lost=2)) == {"typical": ["a"]}
    assert chosen(token("a", None, None)) == {}
    assert chosen(token("a", 2, 2), token("b", 2, 2)) == {"typical": ["a"]}


def test_as_many_of_a_kind_as_asked_for() -> None:
    tokens = [token(name, 1, 1 + depth) for name, depth in zip("abcdefg", range(7), strict=True)]
    assert chosen(*tokens, per_cell=2) == {"typical": ["d", "c"], "deepest": ["g", "f"]}
    assert chosen(*tokens, per_cell=0) == {}


def test_every_cell_has_its_own() -> None:
    tokens = [depth_row("a", place, 0, 1, 2, n_lost=0, n_right_layers=1) for place in range(3)]
    assert choose_examples(pd.DataFrame(tokens), 1)["gold_index"].tolist() == [0, 1, 2]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    study = MadeStudy(tmp_path_factory.mktemp("examples"))
    study.load()
    return study_examples(study.target, 1)


def test_the_table_has_every_layer_of_every_lens(examples: pd.DataFrame) -> None:
    assert set(examples["lens"]) == {"logit", "tuned"}
    assert set(examples["n_documents"]) == set(LENGTHS)
    assert set(examples["kind"]) == set(KINDS)
    keys = ["model", "context_id", "lens", "answer_index"]
    assert (examples.groupby(keys)["layer"].agg(list).map(lambda layers: layers == [0, 1, 2, 3])).all()
    assert (examples["is_right"] == (examples["top1_text"] == examples["target_text"])).all()


def test_the_page_holds_what_the_chart_of_the_library_shows(examples: pd.DataFrame) -> None:
    data = explorer_data(examples)
    names = list(dict.fromkeys(zip(examples["model"], examples["context_id"], strict=True)))
    assert [(context["model"], context["context_id"]) for context in data["contexts"]] == names
    context = data["contexts"][3]
    keys = ["model", "context_id", "lens"]
    rows = cells_of(examples[(examples[keys] == [context["model"], context["context_id"], "tuned"]).all(axis=1)])
    grid = context["lenses"]["tuned"]
    assert [data["words"][place] for place in grid["top1"]] == rows["top1"].tolist()
    assert grid["target_rank"] == rows["target_rank"].tolist()
    assert grid["target_probability"] == pytest.approx(rows["target_probability"].tolist(), abs=1e-4)
    layers = rows.drop_duplicates("answer_index")["first_correct_layer"]
    assert grid["first_correct_layer"] == [None if pd.isna(layer) else layer for layer in layers]
    assert [f"{i}: {text}" for i, text in enumerate(context["tokens"])] == list(dict.fromkeys(rows["token"]))


def test_no_example_is_no_data() -> None:
    assert explorer_data(pd.DataFrame(columns=["model", "context_id"])) == {"words": [], "contexts": [], "left_out": 0}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" Paris", "·Paris"),
        ("\n\n", "↵↵"),
        ("\t", "⇥"),
        ("née", "née"),
        ("\x07", r"\x07"),
        (r"\xe2", r"\xe2"),
        ("a b", "a·b"),
    ],
)
def test_what_cannot_be_seen_is_shown(text: str, shown: str) -> None:
    assert visible_text(text) == shown


def test_json_cannot_end_its_script() -> None:
    assert "<" not in script_json({"</script>": "<!--"})


def test_data_are_packed_without_their_names_being_repeated() -> None:
    spec = {"mark": "bar", "datasets": {"d": [{"a": 1, "b": 2}, {"a": 3}]}}
    assert packed_spec(spec)["datasets"] == {"d": {"columns": ["a", "b"], "texts": {}, "rows": [[1, 2], [3, None]]}}


def test_a_text_that_stands_often_is_packed_once() -> None:
    rows = [{"a": 1, "t": "x", "mixed": "x"}, {"a": 2, "t": "y", "mixed": None}, {"a": 3, "t": "x", "mixed": "x"}]
    table = packed_spec({"datasets": {"d": rows}})["datasets"]["d"]
    assert table == {
        "columns": ["a", "t", "mixed"],
        "texts": {"t": ["x", "y"]},
        "rows": [[1, 0, "x"], [2, 1, None], [3, 0, "x"]],
    }


def test_the_largest_charts_give_way_to_words() -> None:
    def spec(size: int) -> dict[str, Any]:
        return {"datasets": {"d": {"columns": ["a"], "rows": [["x" * size]]}}}

    kept = within_budget({"small": spec(10), "large": spec(50_000), "middle": spec(8_000)}, budget=12_000)
    assert kept["small"] == spec(10)
    assert kept["middle"] == spec(8_000)
    assert "see its SVG" in str(kept["large"])


def test_the_first_kinds_stay_where_room_is_short(examples: pd.DataFrame) -> None:
    whole = explorer_data(examples)
    budget = len(script_json([whole["contexts"], whole["words"]]).encode()) // 2
    part = explorer_data(examples, budget)
    n_all, n_kept = len(whole["contexts"]), len(part["contexts"])
    assert 0 < n_kept < n_all
    assert part["left_out"] == n_all - n_kept
    assert len(script_json([part["contexts"], part["words"]]).encode()) <= budget
    kinds = [KINDS.index(context["kind"]) for context in part["contexts"]]
    wanted = sorted(KINDS.index(context["kind"]) for context in whole["contexts"])
    assert sorted(kinds) == wanted[:n_kept]
    names = [(context["model"], context["context_id"]) for context in whole["contexts"]]
    places = [names.index((context["model"], context["context_id"])) for context in part["contexts"]]
    assert places == sorted(places)
    # Every word that is named is there, and none more.
    named = {place for context in part["contexts"] for lens in context["lenses"].values() for place in lens["top1"]}
    assert named == set(range(len(part["words"])))
