"""Which documents stand around the gold one, and in which order.

A question's distractors are one ordered list: a context of n documents takes the first
n − 1 of it, whatever the gold index. Contexts of one question thus share long prefixes,
and a longer context holds every document of a shorter one.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Literal

import bm25s
import numpy as np

from lenscore.contexts.answers import holds_an_answer
from lenscore.contexts.questions import Document, Question
from lenscore.errors import ContextError

Order = Callable[[Question], Iterator[int]]


class DistractorSource:
    """Draws distractors for the questions of one dataset by one of the ways a config can name."""

    def __init__(self, way: Literal["auto", "dataset", "bm25", "random"], dataset: Sequence[Question], seed: int):
        if way == "auto":
            way = "dataset" if any(question.distractors for question in dataset) else "bm25"
        self.way = way
        self._seed = seed
        self._pool = [question.gold for question in dataset if question.gold]
        self._order: Order | None = None
        if way == "bm25":
            self._order = _bm25_order(self._pool)
        elif way == "random":
            self._order = _random_order(self._pool, seed)

    def draw(self, question: Question, count: int, *, stand_in: bool = False) -> list[Document]:
        """Return the first ``count`` distractors of a question, and one more that is to stand in for the gold document.

        The gold document's text is never among them. Documents that hold an accepted answer, and
        repeated texts, are passed over, save where the dataset itself brings them as distractors.

        Raises:
            ContextError: there are fewer than ``count``.
        """
        wanted = count + stand_in
        drawn = list(islice(self._candidates(question), wanted))
        if len(drawn) < wanted:
            most = len(drawn) + 1 - stand_in
            use = ", one of them for shuffled_gold" if stand_in else ""
            raise ContextError(
                f"question {question.question_id}: {wanted} distractors are needed{use}, but distractors: {self.way} "
                f"finds {len(drawn)}; ask for at most {most} documents, or choose distractors in another way"
            )
        return drawn

    def redrawn(self, question: Question, documents: Sequence[Document], order: int) -> list[Document]:
        """Return a question's documents in another order, drawn with the seed: one of its own for each ``order``."""

        def place(document: Document) -> bytes:
            identity = f"{self._seed}/order {order}/{question.question_id}/{document.document_id}"
            return hashlib.sha256(identity.encode()).digest()

        return sorted(documents, key=place)

    def _candidates(self, question: Question) -> Iterator[Document]:
        texts = {question.gold.text} if question.gold else set()
        if self._order is None:
            yield from (document for document in question.distractors if document.text not in texts)
            return
        for index in self._order(question):
            document = self._pool[index]
            if document.text not in texts and not holds_an_answer(
                f"{document.title} {document.text}", question.answers
            ):
                texts.add(document.text)
                yield document


def _bm25_order(pool: Sequence[Document]) -> Order:
    """Order the pool by BM25 score for the question, ties as in the dataset."""
    texts = [f"{document.title} {document.text}" for document in pool]
    words = bm25s.tokenize(texts, stopwords="en", show_progress=False)
    index = bm25s.BM25()
    indexed = any(words.ids)  # bm25s takes no corpus without words
    if indexed:
        index.index(words, show_progress=False)

    def order(question: Question) -> Iterator[int]:
        asked = bm25s.tokenize([question.question], stopwords="en", return_ids=False, show_progress=False)[0]
        known = [word for word in asked if indexed and word in index.vocab_dict]
        scores = index.get_scores(known) if known else np.zeros(len(pool))
        return iter(np.argsort(-scores, kind="stable").tolist())

    return order


def _random_order(pool: Sequence[Document], seed: int) -> Order:
    """Order the pool by a hash of seed, question and document: new questions reorder no old ones."""

    def order(question: Question) -> Iterator[int]:
        def draw(index: int) -> bytes:
            return hashlib.sha256(f"{seed}/{question.question_id}/{pool[index].document_id}".encode()).digest()

        return iter(sorted(range(len(pool)), key=draw))

    return order
