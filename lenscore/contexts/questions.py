"""Questions and documents in memory, and the study's seeded order of questions."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lenscore.errors import ConfigError


@dataclass(frozen=True)
class Document:
    """One document; no two of a dataset have one id. A gold document's is the id of its question."""

    document_id: str
    title: str
    text: str


@dataclass(frozen=True)
class Question:
    """One dataset item; ``gold`` is None in a dataset without documents."""

    question_id: str
    question: str
    answers: tuple[str, ...]
    topic: str | None
    gold: Document | None
    distractors: tuple[Document, ...]


def read_questions(rows: Iterable[Mapping[str, Any]]) -> list[Question]:
    """Return the questions of a dataset's rows (``sources.tables.QUESTIONS``), in their order."""
    rows = list(rows)
    question_ids = {row["question_id"] for row in rows}
    questions = []
    for row in rows:
        question_id = row["question_id"]
        gold = Document(question_id, **row["gold"]) if row["gold"] else None
        distractors = tuple(
            Document(_distractor_id(question_id, index, question_ids), **document)
            for index, document in enumerate(row["distractors"])
        )
        questions.append(Question(question_id, row["question"], tuple(row["answers"]), row["topic"], gold, distractors))
    return questions


def _distractor_id(question_id: str, index: int, question_ids: Collection[str]) -> str:
    """Return the id of a question's own distractor: ``<question>/<index>``, unless a question has that id.

    The suffix is added only where ids would collide: orders are hashes of ids, so other ids would
    make other contexts. It is added rather than the dataset refused, since the user may be unable
    to rename the questions of a published dataset.
    """
    document_id = f"{question_id}/{index}"
    while document_id in question_ids:
        document_id += "/distractor"
    return document_id


def documents_of(questions: Iterable[Question]) -> Iterator[Document]:
    """Yield every document of the questions: gold documents and distractors."""
    for question in questions:
        if question.gold is not None:
            yield question.gold
        yield from question.distractors


def study_order(questions: Sequence[Question], seed: int) -> list[Question]:
    """Return the questions in the seeded order of which a study takes the first n.

    They are sorted by a hash of seed and id, so that which of two questions comes first depends
    on no other question: a larger n, or a dataset that has grown, changes no such pair.
    """

    def sort_key(question: Question) -> bytes:
        return hashlib.sha256(f"{seed}/{question.question_id}".encode()).digest()

    return sorted(questions, key=sort_key)


def reserved_golds(questions: Sequence[Question], seed: int) -> frozenset[str]:
    """Return the ids of the gold documents that are drawn as nobody's distractor: a lens is trained on those.

    They are the last quarter of the study's order, where the dataset has a thousand gold documents or more; a smaller
    one has none to spare, and none are reserved. The dataset alone decides, so that a lens that is added, or trained
    on more documents, changes no context.
    """
    golds = [question.question_id for question in study_order(questions, seed) if question.gold is not None]
    return frozenset(golds[-(len(golds) // 4) :] if len(golds) >= 1000 else ())


def questions_of_shard(dataset: Sequence[Question], seed: int, first: int, end: int) -> list[Question]:
    """Return the questions at the places ``first`` to ``end`` (not included) of the study's order.

    Raises:
        ConfigError: the dataset has fewer.
    """
    if end > len(dataset):
        raise ConfigError(
            f"questions: {end} or more are asked for, but the dataset has {len(dataset)}; set questions to at most that"
        )
    return study_order(dataset, seed)[first:end]
