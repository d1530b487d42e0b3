"""The contexts of a set: which there are, and what those of one question share."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lenscore.contexts.build import build_contexts
from lenscore.contexts.context import Context, LeftOutQuestion
from lenscore.contexts.distractors import DistractorSource
from lenscore.contexts.questions import Document, Question, questions_of_shard, study_order
from lenscore.contexts.tables import (
    ANSWERS_IN_DISTRACTORS,
    CONTEXTS,
    LEFT_OUT,
    answers_in_distractors_to_table,
    contexts_from_table,
    contexts_to_table,
    left_out_to_table,
)
from lenscore.errors import ContextError
from lenscore.records import read_table, write_table
from lenscore.study.context_sets import ContextSetSpec
from lenscore.study.prompt import read_template, template_path
from tests.zoo import ANIMALS, ZOO


def spec(**keys: Any) -> ContextSetSpec:
    return ContextSetSpec.model_validate({"documents": [3, 5], "positions": "all", "distractors": "bm25"} | keys)


def build(
    shard: Sequence[Question], keys: dict[str, Any] | None = None, dataset: Sequence[Question] = ZOO, **rest: Any
) -> tuple[list[Context], list[LeftOutQuestion]]:
    asked = spec(**(keys or {}))
    template = read_template(template_path(asked.prompt))
    arguments: dict[str, Any] = {"first_place": 0, "set_name": "main", "missing_answer": "error"} | rest
    built = build_contexts(dataset, shard, spec=asked, template=template, **arguments)
    return built.contexts, built.left_out


def prompt(context: Context) -> str:
    return "".join(segment.text for segment in context.segments)


def of_question(contexts: list[Context]) -> list[list[Context]]:
    return [list(group) for _, group in itertools.groupby(contexts, key=lambda context: context.question_id)]


@pytest.mark.parametrize(
    ("positions", "indices"),
    [
        ("all", {3: [0, 1, 2], 5: [0, 1, 2, 3, 4], 10: list(range(10))}),
        (3, {3: [0, 1, 2], 5: [0, 2, 4], 10: [0, 5, 9]}),
        ([2, 0], {3: [0, 2], 5: [0, 2], 10: [0, 2]}),
    ],
)
def test_every_question_number_and_gold_index_once(positions: object, indices: dict[int, list[int]]) -> None:
    contexts, left_out = build(ZOO[:4], {"documents": [5, 3, 10], "positions": positions})
    assert not left_out
    made = [(context.question_id, context.n_documents, context.gold_index) for context in contexts]
    assert made == [(q.question_id, n, index) for q in ZOO[:4] for n in (3, 5, 10) for index in indices[n]]
    identities = [context.context_id for context in contexts]
    assert len(set(identities)) == len(identities)
    assert identities[0] == "main/q-ant/3/0"
    assert {context.context_set for context in contexts} == {"main"}
    assert {context.condition for context in contexts} == {"documents"}


def test_gold_document_is_at_its_index_and_relative_position() -> None:
    contexts, _ = build(ZOO[:2], {"documents": [1, 3, 5]})
    for context in contexts:
        n, index = context.n_documents, context.gold_index
        assert len(context.document_ids) == n == len(set(context.document_ids))
        assert context.document_ids[index] == context.question_id
        assert context.relative_position == (index / (n - 1) if n > 1 else None)
        documents = [segment for segment in context.segments if segment.kind == "document"]
        assert [segment.document for segment in documents] == list(range(n))
        texts = {question.question_id: question.gold.text for question in ZOO if question.gold}
        assert [segment.text for segment in documents] == [texts[identity] for identity in context.document_ids]


@pytest.mark.parametrize("order", ["shuffled", "ranked"])
@pytest.mark.parametrize("distractors", ["bm25", "random"])
def test_order_of_distractors_is_one_for_all_contexts_of_a_question(distractors: str, order: str) -> None:
    contexts, _ = build(ZOO, {"documents": [2, 3, 5, 9], "distractors": distractors, "order": order})
    for contexts_of_question in of_question(contexts):
        orders = []
        for context in contexts_of_question:
            order = list(context.document_ids)
            del order[context.gold_index]
            orders.append(order)
        longest = max(orders, key=len)
        assert len(longest) == 8
        assert all(order == longest[: len(order)] for order in orders)


def without_gold(contexts: list[Context]) -> dict[str, tuple[str, ...]]:
    """Return each question's distractors in their order, from contexts that are all of one length."""
    orders = {c.question_id: tuple(d for d in c.document_ids if d != c.question_id) for c in contexts}
    assert len({c.n_documents for c in contexts}) == 1
    return orders


def test_ranked_distractors_stand_as_the_method_ranks_them() -> None:
    contexts, _ = build(ZOO[:4], {"documents": [6], "order": "ranked"})
    source = DistractorSource("bm25", ZOO, 0)
    wanted = {q.question_id: tuple(d.document_id for d in source.distractors_of(q, 5).documents) for q in ZOO[:4]}
    assert without_gold(contexts) == wanted


def test_shuffled_are_the_ranked_of_the_longest_context_in_an_order_that_the_seed_draws() -> None:
    """Each of six distractors stands at each of six places about as often: 600 draws of one in six a place."""
    keys = {"documents": [7], "positions": [0]}
    ranked = without_gold(build(ZOO[:3], {**keys, "order": "ranked"})[0])
    places: Counter[tuple[int, int]] = Counter()
    of_seed = {}
    for seed in range(200):
        of_seed[seed] = without_gold(build(ZOO[:3], {**keys, "seed": seed})[0])
        for question, order in of_seed[seed].items():
            assert sorted(order) == sorted(ranked[question])
            places.update((place, ranked[question].index(document)) for place, document in enumerate(order))
    assert len(places) == 36
    assert all(60 < count < 140 for count in places.values()), places  # 100 ± 9.1, four standard deviations
    # Most of the 720 orders are met; a question's is its own.
    assert len({order for orders in of_seed.values() for order in orders.values()}) > 300
    assert of_seed[3] == without_gold(build(ZOO[:3], {**keys, "seed": 3})[0])


def test_the_document_in_the_gold_ones_stead_is_the_next_in_rank_in_either_order() -> None:
    keys = {"documents": [4], "positions": [1], "controls": ["shuffled_gold"]}
    next_in_rank = DistractorSource("bm25", ZOO, 0).distractors_of(ZOO[0], 4).documents[-1].document_id
    for order in ("shuffled", "ranked"):
        contexts, _ = build(ZOO[:1], {**keys, "order": order})
        assert contexts[1].document_ids[1] == next_in_rank
        # A control that is added changes no other context.
        assert contexts[:1] == build(ZOO[:1], {**keys, "order": order, "controls": []})[0]


def test_contexts_share_the_text_before_the_gold_document() -> None:
    contexts, _ = build(ZOO[:3], {"documents": [3, 6]})
    for contexts_of_question in of_question(contexts):
        # Across numbers of documents too: the text before the k-th document is the same wherever gold comes later.
        before: dict[int, set[str]] = {}
        for context in contexts_of_question:
            for place in range(context.gold_index + 1):
                texts = itertools.takewhile(lambda s, place=place: s.document != place, context.segments)
                before.setdefault(place, set()).add("".join(segment.text for segment in texts))
        assert sorted(before) == [0, 1, 2, 3, 4, 5]
        assert all(len(texts) == 1 for texts in before.values())
        assert len({text for texts in before.values() for text in texts}) == 6


def test_question_and_answer_are_those_of_the_dataset() -> None:
    contexts, _ = build(ZOO[:2], {"prompt": "lost_in_the_middle"})
    for context in contexts:
        name = context.question_id.removeprefix("q-")
        assert prompt(context).endswith(f"\n\nQuestion: when was the {name} born\nAnswer:")
        assert context.answer == f" {1900 + ANIMALS.index(name)}"


def test_answer_is_the_first_accepted_one_in_the_gold_document() -> None:
    asked = Question("q", "who was born", ("Smith", "THE ANT", "ant"), None, ZOO[0].gold, ())
    contexts, _ = build([asked], {"prompt": "lost_in_the_middle"})
    # "ant" occurs to the letter and so comes before "THE ANT".
    assert {context.answer for context in contexts} == {" ant"}


def test_controls() -> None:
    contexts, _ = build(ZOO[:1], {"documents": [3], "positions": [1], "controls": ["oracle", "closed_book"]})
    closed_book, oracle, documents = contexts
    assert [context.context_id for context in contexts] == [
        "main/q-ant/closed_book",
        "main/q-ant/oracle",
        "main/q-ant/3/1",
    ]
    assert closed_book.condition == "closed_book"
    assert (closed_book.n_documents, closed_book.gold_index, closed_book.relative_position) == (0, None, None)
    assert closed_book.document_ids == ()
    assert ZOO[0].gold.text not in prompt(closed_book)
    assert ZOO[0].question in prompt(closed_book)

    assert oracle.condition == "oracle"
    assert (oracle.n_documents, oracle.gold_index, oracle.relative_position) == (1, 0, None)
    assert oracle.document_ids == ("q-ant",)
    assert [segment.text for segment in oracle.segments if segment.kind == "document"] == [ZOO[0].gold.text]
    assert closed_book.answer == oracle.answer == documents.answer


def test_shuffled_gold_has_one_more_distractor_in_place_of_the_gold_document() -> None:
    contexts, _ = build(ZOO[:2], {"documents": [3, 5], "controls": ["shuffled_gold"]})
    by_id = {context.context_id: context for context in contexts}
    controls = [context for context in contexts if context.condition == "shuffled_gold"]
    assert len(controls) == len(contexts) / 2 == 2 * (3 + 5)
    substitutes: dict[str, set[str]] = {}
    for control in controls:
        original = by_id[control.context_id.removesuffix("/shuffled_gold")]
        index = control.gold_index
        for key in ("answer", "n_documents", "gold_index", "relative_position", "question_place"):
            assert getattr(control, key) == getattr(original, key)
        others = [list(context.document_ids) for context in (control, original)]
        substitutes.setdefault(control.question_id, set()).add(others[0].pop(index))
        assert others[1].pop(index) == control.question_id
        assert others[0] == others[1]
        assert control.answer.strip() not in prompt(control)
    # One document a question at all lengths and places, which is in none of its other contexts.
    for question, documents in substitutes.items():
        assert len(documents) == 1
        assert not any(
            documents & set(context.document_ids)
            for context in contexts
            if context.question_id == question and context.condition == "documents"
        )


def test_shuffled_gold_needs_one_document_more() -> None:
    with pytest.raises(
        ContextError, match=r"14 distractors are needed, one of them for shuffled_gold.* at most 13 doc"
    ):
        build(ZOO[:1], {"documents": [14], "controls": ["shuffled_gold"]})


@pytest.mark.parametrize("distractors", ["bm25", "random"])
def test_orders_have_the_same_documents_in_other_places(distractors: str) -> None:
    keys = {"documents": [2, 4, 8], "positions": 2, "distractors": distractors}
    contexts, _ = build(ZOO[:4], {**keys, "orders": 3})
    by_id = {context.context_id: context for context in contexts}
    reordered = [context for context in contexts if context.distractor_order > 0]
    # Two documents have one distractor, which has one order.
    assert {context.n_documents for context in reordered} == {4, 8}
    assert len(reordered) == 4 * 2 * 2 * 2
    moved: dict[int, list[bool]] = {4: [], 8: []}
    for context in reordered:
        original = by_id[context.context_id.rpartition("/order-")[0]]
        index = context.gold_index
        assert context.document_ids[index] == original.document_ids[index] == context.question_id
        assert sorted(context.document_ids) == sorted(original.document_ids)
        moved[context.n_documents].append(context.document_ids != original.document_ids)
    assert all(moved[8])
    assert any(moved[4])
    # At each place of the gold document the others have one order, so that prefixes are shared.
    orders = {
        (
            c.question_id,
            c.n_documents,
            c.distractor_order,
            tuple(d for d in c.document_ids if d != c.question_id),
        )
        for c in contexts
    }
    assert len(orders) == 4 * (1 + 3 + 3)
    assert [c for c in contexts if c.distractor_order == 0] == build(ZOO[:4], keys)[0]


def test_orders_depend_on_the_seed() -> None:
    keys = {"documents": [8], "positions": 2, "orders": 2}
    zero, again, one = (build(ZOO[:3], {**keys, "seed": seed})[0] for seed in (0, 0, 1))
    assert zero == again
    assert [c.document_ids for c in zero] != [c.document_ids for c in one]


def test_controls_alone_need_no_distractors() -> None:
    contexts, _ = build(ZOO[:2], {"documents": [], "controls": ["oracle"]}, dataset=ZOO[:2])
    assert [context.context_id for context in contexts] == ["main/q-ant/oracle", "main/q-bear/oracle"]


WITHOUT = Question("q-owl", "when was the owl born", ("1999", "'99"), None, ZOO[0].gold, ())


def test_missing_answer_is_an_error_that_names_the_question() -> None:
    with pytest.raises(
        ContextError, match=r"question 'q-owl' .'when was the owl born'.: .*'1999'.*missing_answer: skip"
    ):
        build([ZOO[0], WITHOUT])


def test_missing_answer_may_be_skipped_and_is_recorded() -> None:
    contexts, left_out = build([ZOO[0], WITHOUT, ZOO[1]], missing_answer="skip")
    assert contexts == build([ZOO[0]])[0] + build([ZOO[1]], first_place=2)[0]
    (row,) = left_out
    assert (row.context_set, row.question_id, row.question_place) == ("main", "q-owl", 1)
    assert "1999" in row.reason


def test_shard_of_which_every_question_is_left_out() -> None:
    contexts, left_out = build([WITHOUT], missing_answer="skip")
    assert contexts == []
    assert len(left_out) == 1


BARE = [Question(f"b{i}", f"question {i}", (f" answer\n {i}", f"{i}"), None, None, ()) for i in range(3)]


@pytest.mark.parametrize("distractors", ["auto", "bm25", "random"])
def test_questions_without_documents_are_asked_closed_book(distractors: str) -> None:
    keys = {"documents": [], "controls": ["closed_book"], "distractors": distractors, "prompt": "lost_in_the_middle"}
    contexts, left_out = build(BARE, keys, dataset=BARE)
    assert not left_out
    assert [context.answer for context in contexts] == [" answer 0", " answer 1", " answer 2"]
    assert [context.condition for context in contexts] == ["closed_book"] * 3
    assert prompt(contexts[1]).endswith("Question: question 1\nAnswer:")


@pytest.mark.parametrize("keys", [{}, {"documents": [], "controls": ["closed_book", "oracle"]}])
@pytest.mark.parametrize("missing_answer", ["error", "skip"])
def test_questions_without_documents_cannot_have_others(keys: dict[str, Any], missing_answer: str) -> None:
    with pytest.raises(ContextError) as raised:
        build(BARE, keys, dataset=BARE, missing_answer=missing_answer)
    message = str(raised.value)
    assert message.startswith("question 'b0' ('question 0'): the dataset has no gold document")
    assert "set documents: [] and controls: [closed_book] in context set main" in message


def test_too_few_documents_for_the_longest_context() -> None:
    with pytest.raises(ContextError, match=r"question 'q-ant': 14 distractors .* finds 13; ask for at most 14 doc"):
        build(ZOO[:1], {"documents": [3, 15]})


def shard(dataset: Sequence[Question], first: int, end: int, seed: int = 0) -> list[Question]:
    return questions_of_shard(dataset, seed, first, end)


def test_more_questions_keep_every_context_there_is() -> None:
    few, _ = build(shard(ZOO, 0, 5))
    many, _ = build(shard(ZOO, 0, 12))
    assert many[: len(few)] == few
    parts = [build(shard(ZOO, first, end), first_place=first)[0] for first, end in ((0, 5), (5, 10), (10, 12))]
    assert list(itertools.chain(*parts)) == many


def test_contexts_have_the_place_of_their_question_in_the_study_order() -> None:
    keys = {"controls": ["closed_book", "oracle", "shuffled_gold"], "orders": 2}
    contexts, _ = build(shard(ZOO, 4, 7), keys, first_place=4)
    place_of = {question.question_id: place for place, question in enumerate(study_order(ZOO, 0))}
    assert {context.question_place for context in contexts} == {4, 5, 6}
    assert all(context.question_place == place_of[context.question_id] for context in contexts)


def test_tables_have_every_field_in_the_columns_of_the_schema(tmp_path: Path) -> None:
    keys = {"controls": ["closed_book", "oracle", "shuffled_gold"], "orders": 2, "prompt": "chat_sentence"}
    contexts, left_out = build([ZOO[0], WITHOUT], keys, missing_answer="skip", first_place=7)
    table = contexts_to_table(contexts)
    write_table(table, tmp_path / "contexts")
    written = read_table(tmp_path / "contexts", CONTEXTS)
    assert contexts_from_table(written) == contexts
    row = written.to_pylist()[2]
    assert {key: value for key, value in row.items() if key != "segments"} == {
        "context_id": "main/q-ant/3/0",
        "context_set": "main",
        "question_id": "q-ant",
        "question_place": 7,
        "condition": "documents",
        "n_documents": 3,
        "distractor_order": 0,
        "gold_index": 0,
        "relative_position": 0.0,
        "answer": " 1900",
        "document_ids": list(contexts[2].document_ids),
    }
    assert [tuple(segment.values()) for segment in row["segments"]] == [tuple(s) for s in contexts[2].segments]
    assert {tuple(segment) for segment in row["segments"]} == {("kind", "document", "role", "text")}
    assert left_out_to_table(left_out).to_pylist() == [
        {"context_set": "main", "question_id": "q-owl", "question_place": 8, "reason": left_out[0].reason}
    ]
    assert contexts_to_table([]).schema == CONTEXTS
    assert left_out_to_table([]).schema == LEFT_OUT


def test_distractors_with_an_answer_are_recorded(caplog: pytest.LogCaptureFixture) -> None:
    own = (
        Document("q-ant/0", "", "The ant of 1900."),
        Document("q-ant/1", "", "No year."),
        Document("q-ant/2", "", "?"),
    )
    asked = replace(ZOO[0], distractors=own)
    built = build_contexts(
        [asked], [asked], first_place=0, set_name="main", spec=spec(documents=[3], distractors="dataset"),
        template=read_template(template_path("few_shot")), missing_answer="error", answer_in_distractors="drop",
    )  # fmt: skip
    table = answers_in_distractors_to_table(built.answers_in_distractors)
    row = {"context_set": "main", "question_id": "q-ant", "document_id": "q-ant/0", "dropped": True}
    assert table.to_pylist() == [row]
    assert all("q-ant/0" not in context.document_ids for context in built.contexts)
    assert (
        "1 of the dataset's own distractors hold an accepted answer and are dropped, the first 'q-ant/0'" in caplog.text
    )
    assert answers_in_distractors_to_table([]).schema == ANSWERS_IN_DISTRACTORS


def test_primary_contexts_are_neither_controls_nor_reordered() -> None:
    keys = {"controls": ["closed_book", "oracle", "shuffled_gold"], "orders": 3}
    contexts, _ = build(ZOO[:1], keys)
    primary, _ = build(ZOO[:1])
    assert [context.context_id for context in contexts if context.is_primary] == [c.context_id for c in primary]
    for context in contexts:
        texts = [s.text for s in context.segments if s.kind == "document" and s.document == context.answer_document]
        has_gold = context.condition not in ("closed_book", "shuffled_gold")
        assert texts == ([ZOO[0].gold.text] if has_gold else []), context.context_id


@pytest.mark.parametrize("distractors", ["bm25", "random"])
def test_two_builds_are_equal(distractors: str) -> None:
    arguments: dict[str, Any] = {
        "first_place": 0,
        "set_name": "main",
        "spec": spec(distractors=distractors),
        "template": read_template(template_path("few_shot")),
        "missing_answer": "error",
    }
    first = build_contexts(ZOO, shard(ZOO, 0, 6), **arguments)
    second = build_contexts(list(ZOO), shard(list(ZOO), 0, 6), **arguments)
    assert first == second


def test_another_seed_of_the_set_gives_other_random_distractors() -> None:
    zero, _ = build(ZOO[:3], {"distractors": "random", "seed": 0})
    one, _ = build(ZOO[:3], {"distractors": "random", "seed": 1})
    assert [context.document_ids for context in zero] != [context.document_ids for context in one]
