"""Questions and documents in memory, and the order in which a study takes them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lenscore.errors import ConfigError


@dataclass(frozen=True)
class Document:
    """One document; a gold document's ``document_id`` is the id of its question."""

    document_id: str
    title: str
    text: str


@dataclass(frozen=True)
class Question:
    """One dataset item; ``gold`` is None in a dataset that brings no documents."""

    question_id: str
    question: str
    answers: tuple[str, ...]
    topic: str | None
    gold: Document | None
    distractors: tuple[Document, ...]


def read_questions(rows: Iterable[Mapping[str, Any]]) -> list[Question]:
    """Return the questions of a dataset's rows (``records.QUESTIONS``), in their order."""
    questions = []
    for row in rows:
        identity = row["question_id"]
        gold = Document(identity, **row["gold"]) if row["gold"] else None
        brought = tuple(Document(f"{identity}/{i}", **document) for i, document in enumerate(row["distractors"]))
        questions.append(Question(identity, row["question"], tuple(row["answers"]), row["topic"], gold, brought))
    return questions


def documents_of(questions: Iterable[Question]) -> Iterator[Document]:
    """Yield every document of the questions: gold documents and distractors."""
    for question in questions:
        if question.gold is not None:
            yield question.gold
        yield from question.distractors


def study_order(questions: Sequence[Question], seed: int) -> list[Question]:
    """Return the questions in the seeded order of which a study takes the first n.

    Each question's place depends on a hash of its own: a larger n, or a dataset that has
    grown, never changes which of two questions comes first.
    """

    def place(question: Question) -> bytes:
        return hashlib.sha256(f"{seed}/{question.question_id}".encode()).digest()

    return sorted(questions, key=place)


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
