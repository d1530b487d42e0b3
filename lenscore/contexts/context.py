"""A context in memory: one prompt, and where in the study it belongs."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, NamedTuple

Condition = Literal["documents", "shuffled_gold", "oracle", "closed_book"]


class Segment(NamedTuple):
    """A run of a prompt; see ``contexts.tables.SEGMENT``."""

    kind: Literal["frame", "document", "question"]
    document: int | None
    role: str | None
    text: str


@dataclass(frozen=True)
class Context:
    """One prompt and its answer: the columns of ``contexts.tables.CONTEXTS``, which explains them."""

    context_id: str
    context_set: str
    question_id: str
    question_place: int
    condition: Condition
    n_documents: int
    distractor_order: int
    gold_index: int | None
    relative_position: float | None
    segments: tuple[Segment, ...]
    answer: str
    document_ids: tuple[str, ...]

    @property
    def is_primary(self) -> bool:
        """Whether it has the gold document among distractors in the set's own order: no control, no reordering."""
        return self.condition == "documents" and self.distractor_order == 0

    def can_be_ablated(self, documents: Collection[int] | None) -> bool:
        """Return whether blocks are ablated in it: it is primary, with one of the numbers of documents (None: any)."""
        return self.is_primary and (documents is None or self.n_documents in documents)

    @property
    def answer_document(self) -> int | None:
        """Index of the document with the answer; None where there is none: closed_book, shuffled_gold."""
        return None if self.condition == "shuffled_gold" else self.gold_index


@dataclass(frozen=True)
class AnswerInDistractor:
    """A dataset's own distractor that holds an accepted answer: see ``contexts.tables.ANSWERS_IN_DISTRACTORS``."""

    context_set: str
    question_id: str
    document_id: str
    dropped: bool


@dataclass(frozen=True)
class LeftOutQuestion:
    """A question that has no contexts in a set: the columns of ``contexts.tables.LEFT_OUT``."""

    context_set: str
    question_id: str
    question_place: int
    reason: str
