"""The questions of a dataset: their order in the study, and their documents."""

from typing import Any

import pyarrow as pa
import pytest

from lenscore.contexts.questions import (
    Document,
    Question,
    documents_of,
    questions_of_shard,
    read_questions,
    study_order,
)
from lenscore.errors import ConfigError
from lenscore.sources.tables import QUESTIONS
from tests.zoo import ZOO


def test_order_of_the_study_is_seeded_and_complete() -> None:
    orders = [[question.question_id for question in study_order(ZOO, seed)] for seed in range(3)]
    names = [question.question_id for question in ZOO]
    assert all(sorted(order) == names and order != names for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert orders[0] == [question.question_id for question in study_order(ZOO[::-1], 0)]


def test_grown_dataset_keeps_the_order_of_old_questions() -> None:
    old = study_order(ZOO[:9], 0)
    assert [question for question in study_order(ZOO, 0) if question in old] == old


def test_shards_cover_the_order_and_no_more() -> None:
    order = study_order(ZOO, 4)
    assert questions_of_shard(ZOO, 4, 0, 5) + questions_of_shard(ZOO, 4, 5, 14) == order
    with pytest.raises(ConfigError, match=r"questions: 15 .* the dataset has 14; set questions to at most"):
        questions_of_shard(ZOO, 0, 10, 15)


def test_rows_of_a_dataset_become_questions() -> None:
    rows = [
        {
            "question_id": "a",
            "question": "who",
            "answers": ["x", "y"],
            "topic": "t",
            "gold": {"title": "G", "text": "x is"},
            "distractors": [{"title": "D", "text": "d"}, {"title": "E", "text": "e"}],
        },
        {"question_id": "b", "question": "why", "answers": ["z"], "topic": None, "gold": None, "distractors": []},
    ]
    assert read_questions(pa.Table.from_pylist(rows, schema=QUESTIONS).to_pylist()) == [
        Question("a", "who", ("x", "y"), "t", Document("a", "G", "x is"),
                 (Document("a/0", "D", "d"), Document("a/1", "E", "e"))),
        Question("b", "why", ("z",), None, None, ()),
    ]  # fmt: skip


def row_of_dataset(question_id: str, distractors: int) -> dict[str, Any]:
    return {
        "question_id": question_id,
        "question": "who",
        "answers": ["x"],
        "topic": None,
        "gold": {"title": "", "text": f"x of {question_id}"},
        "distractors": [{"title": "", "text": f"{i} of {question_id}"} for i in range(distractors)],
    }


def test_no_two_documents_have_one_id_where_questions_are_called_like_distractors() -> None:
    rows = [row_of_dataset(name, 3) for name in ("q", "q/0", "q/0/distractor", "q/2/distractor", "q/0/0", "r")]
    documents = list(documents_of(read_questions(rows)))
    assert len(documents) == len(rows) * 4
    ids = [document.document_id for document in documents]
    assert len(set(ids)) == len(ids)
    by_text = {document.text: document.document_id for document in documents}
    for row in rows:
        assert by_text[row["gold"]["text"]] == row["question_id"]
    # Only ids that would collide are others than in a dataset without the collisions.
    assert [by_text[f"{i} of q"] for i in range(3)] == ["q/0/distractor/distractor", "q/1", "q/2"]
    assert [by_text[f"{i} of r"] for i in range(3)] == ["r/0", "r/1", "r/2"]
