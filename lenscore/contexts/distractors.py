"""Which documents surround the gold one, and in which order.

A question's distractors are one ordered list: a context of n documents takes the first
n − 1 of it, whatever the gold index. So contexts of one question share long prefixes, and a
longer context has every document of a shorter one.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Literal

import bm25s
import numpy as np

from lenscore.contexts.answers import contains_an_answer
from lenscore.contexts.questions import Document, Question
from lenscore.errors import ContextError

# Ranks the documents of the pool for a question: yields their indices, the best first.
Ranking = Callable[[Question], Iterator[int]]


class DistractorSource:
    """The distractors of a dataset's questions, by the method that a config names.

    Attributes:
        method: dataset, bm25 or random; where the config says auto, the one that was chosen.
    """

    def __init__(self, method: Literal["auto", "dataset", "bm25", "random"], dataset: Sequence[Question], seed: int):
        if method == "auto":
            method = "dataset" if any(question.distractors for question in dataset) else "bm25"
        self.method = method
        self._seed = seed
        self._pool = [question.gold for question in dataset if question.gold]
        self._ranking: Ranking | None = None
        if method == "bm25":
            self._ranking = _bm25_ranking(self._pool)
        elif method == "random":
            self._ranking = _random_ranking(self._pool, seed)

    def distractors_of(self, question: Question, count: int, *, substitute: bool = False) -> list[Document]:
        """Return the first ``count`` distractors of a question, in their order.

        The gold document's text is never among them. Documents that contain an accepted answer, and
        repeated texts, are left out, unless the dataset itself has them as distractors.

        Args:
            question: the question.
            count: how many.
            substitute: return one more, the last, to replace the gold document in shuffled_gold.

        Raises:
            ContextError: there are fewer.
        """
        wanted = count + substitute
        found = list(islice(self._candidates(question), wanted))
        if len(found) < wanted:
            most = len(found) + 1 - substitute
            use = ", one of them for shuffled_gold" if substitute else ""
            raise ContextError(
                f"question {question.question_id}: {wanted} distractors are needed{use}, but distractors: "
                f"{self.method} finds {len(found)}; ask for at most {most} documents, or set distractors to another "
                "method"
            )
        return found

    def reordered(self, question: Question, documents: Sequence[Document], order: int) -> list[Document]:
        """Return a question's documents in another order, which depends on the seed and the number ``order``."""

        def sort_key(document: Document) -> bytes:
            identity = f"{self._seed}/order {order}/{question.question_id}/{document.document_id}"
            return hashlib.sha256(identity.encode()).digest()

        return sorted(documents, key=sort_key)

    def _candidates(self, question: Question) -> Iterator[Document]:
        texts = {question.gold.text} if question.gold else set()
        if self._ranking is None:
            yield from (document for document in question.distractors if document.text not in texts)
            return
        for index in self._ranking(question):
            document = self._pool[index]
            if document.text not in texts and not contains_an_answer(
                f"{document.title} {document.text}", question.answers
            ):
                texts.add(document.text)
                yield document


def _bm25_ranking(pool: Sequence[Document]) -> Ranking:
    """Rank the pool by BM25 score for the question, ties as in the dataset."""
    texts = [f"{document.title} {document.text}" for document in pool]
    words = bm25s.tokenize(texts, stopwords="en", show_progress=False)
    index = bm25s.BM25()
    indexed = any(words.ids)  # bm25s refuses a corpus without words
    if indexed:
        index.index(words, show_progress=False)

    def ranking(question: Question) -> Iterator[int]:
        asked = bm25s.tokenize([question.question], stopwords="en", return_ids=False, show_progress=False)[0]
        known = [word for word in asked if indexed and word in index.vocab_dict]
        scores = index.get_scores(known) if known else np.zeros(len(pool))
        return iter(np.argsort(-scores, kind="stable").tolist())

    return ranking


def _random_ranking(pool: Sequence[Document], seed: int) -> Ranking:
    """Rank the pool by a hash of seed, question and document: new documents reorder no old ones."""

    def ranking(question: Question) -> Iterator[int]:
        def sort_key(index: int) -> bytes:
            return hashlib.sha256(f"{seed}/{question.question_id}/{pool[index].document_id}".encode()).digest()

        return iter(sorted(range(len(pool)), key=sort_key))

    return ranking
