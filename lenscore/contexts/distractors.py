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
        self._pool = [question.gold for question in dataset if question.gold]
        self._order: Order | None = None
        if way == "bm25":
            self._order = _bm25_order(self._pool)
        elif way == "random":
            self._order = _random_order(self._pool, seed)

    def draw(self, question: Question, count: int) -> list[Document]:
        """Return the first ``count`` distractors of a question.

        Documents that hold one of its accepted answers are passed over, save those that the
        dataset itself brings as distractors.

        Raises:
            ContextError: there are fewer than ``count``.
        """
        candidates = iter(question.distractors) if self._order is None else self._others(question, self._order)
        drawn = list(islice(candidates, count))
        if len(drawn) < count:
            raise ContextError(
                f"question {question.question_id}: {count} distractors are needed, but distractors: {self.way} "
                f"finds {len(drawn)}; ask for at most {len(drawn) + 1} documents, or choose distractors in another way"
            )
        return drawn

    def _others(self, question: Question, order: Order) -> Iterator[Document]:
        texts = {question.gold.text} if question.gold else set()
        for index in order(question):
            document = self._pool[index]
            if document.text not in texts and not holds_an_answer(f"{document.title} {document.text}", question.answers):
                texts.add(document.text)
                yield document


def _bm25_order(pool: Sequence[Document]) -> Order:
    """Order the pool by BM25 score for the question, ties as in the dataset."""
    texts = [f"{document.title} {document.text}" for document in pool]
    index = bm25s.BM25()
    index.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)

    def order(question: Question) -> Iterator[int]:
        words = bm25s.tokenize([question.question], stopwords="en", return_ids=False, show_progress=False)[0]
        known = [word for word in words if word in index.vocab_dict]
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
