"""Which documents surround the gold one, and in which order.

A question's distractors are one ordered list, ranked by their method or shuffled: a context of n
documents takes the first n − 1 of it, whatever the gold index. So contexts of one question share long prefixes, and a
longer context has every document of a shorter one.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple

import bm25s
import numpy as np

from lenscore.contexts.answers import contains_an_answer
from lenscore.contexts.questions import Document, Question
from lenscore.contexts.words import terms
from lenscore.errors import ContextError, shown
from lenscore.study.context_sets import AnswerInDistractors

# Ranks the documents of the pool for a question: yields their indices, the best first.
Ranking = Callable[[Question], Iterator[int]]


class Distractors(NamedTuple):
    """The distractors of a question.

    Attributes:
        documents: the best ranked first.
        with_answer: of the dataset's own that were met while they were chosen, those that hold an accepted answer.
    """

    documents: list[Document]
    with_answer: list[Document]


class DistractorSource:
    """The distractors of a dataset's questions, by the method that a config names.

    Args:
        method: dataset, bm25 or random; auto: dataset where the dataset has distractors, else bm25.
        dataset: all questions.
        seed: of the method random, and of orders that are drawn.
        answer_in_distractors: what to do with a distractor of the dataset's own that holds an accepted answer. The
            other methods never take one.
        reserved: ids of gold documents that bm25 and random do not draw.

    Attributes:
        method: dataset, bm25 or random; where the config says auto, the one that was chosen.
    """

    def __init__(
        self,
        method: Literal["auto", "dataset", "bm25", "random"],
        dataset: Sequence[Question],
        seed: int,
        answer_in_distractors: AnswerInDistractors = "keep",
        reserved: Collection[str] = (),
    ):
        if method == "auto":
            method = "dataset" if any(question.distractors for question in dataset) else "bm25"
        self.method = method
        self._seed = seed
        self._answer_in_distractors = answer_in_distractors
        self._pool = [question.gold for question in dataset if question.gold and question.question_id not in reserved]
        self._ranking: Ranking | None = None
        if method == "bm25":
            self._ranking = _bm25_ranking(self._pool)
        elif method == "random":
            self._ranking = _random_ranking(self._pool, seed)

    def distractors_of(self, question: Question, count: int, *, substitute: bool = False) -> Distractors:
        """Return the first ``count`` distractors of a question, as the method ranks them.

        The gold document's text is never among them. Documents that contain an accepted answer, and
        repeated texts, are left out, unless the dataset itself has them as distractors: what then becomes of documents
        that contain an answer, the source was told.

        Args:
            question: the question.
            count: how many.
            substitute: return one more, the last, to replace the gold document in shuffled_gold.

        Raises:
            ContextError: there are fewer; or one of the dataset's own holds an answer, and that is to be an error.
        """
        wanted = count + substitute
        with_answer: list[Document] = []
        candidates = (
            self._own(question, with_answer) if self._ranking is None else self._ranked(question, self._ranking)
        )
        found = list(islice(candidates, wanted))
        if len(found) < wanted:
            most = len(found) + 1 - substitute
            use = ", one of them for shuffled_gold" if substitute else ""
            raise ContextError(
                f"question {shown(question.question_id)}: {wanted} distractors are needed{use}, but distractors: "
                f"{self.method} finds {len(found)}{self._dropped(with_answer)}; ask for at most {most} documents, or "
                "set distractors to another method"
            )
        return Distractors(found, with_answer)

    def reordered(self, question: Question, documents: Sequence[Document], order: int) -> list[Document]:
        """Return a question's documents in an order that depends on the seed and the number ``order`` alone.

        Documents that are added do not change the order of the others.
        """

        def sort_key(document: Document) -> bytes:
            identity = f"{self._seed}/order {order}/{question.question_id}/{document.document_id}"
            return hashlib.sha256(identity.encode()).digest()

        return sorted(documents, key=sort_key)

    def _own(self, question: Question, with_answer: list[Document]) -> Iterator[Document]:
        """Yield the dataset's own distractors of a question; those that hold an answer are added to ``with_answer``."""
        for document in question.distractors:
            if question.gold is not None and document.text == question.gold.text:
                continue
            if _holds_an_answer(document, question):
                if self._answer_in_distractors == "error":
                    raise ContextError(
                        f"question {shown(question.question_id)} ({shown(question.question)}): its distractor "
                        f"{shown(document.document_id)} holds one of its answers {shown(list(question.answers))}; "
                        "correct the dataset, or set answer_in_distractors to keep or drop"
                    )
                with_answer.append(document)
                if self._answer_in_distractors == "drop":
                    continue
            yield document

    def _ranked(self, question: Question, ranking: Ranking) -> Iterator[Document]:
        """Yield the documents of the pool that can be distractors of a question, in their order."""
        texts = {question.gold.text} if question.gold else set()
        for index in ranking(question):
            document = self._pool[index]
            if document.text not in texts and not _holds_an_answer(document, question):
                texts.add(document.text)
                yield document

    def _dropped(self, with_answer: Sequence[Document]) -> str:
        if not with_answer or self._answer_in_distractors != "drop":
            return ""
        return f" (answer_in_distractors: drop leaves out {len(with_answer)})"


def _holds_an_answer(document: Document, question: Question) -> bool:
    return contains_an_answer(f"{document.title} {document.text}", question.answers)


def _bm25_ranking(pool: Sequence[Document]) -> Ranking:
    """Rank the pool by BM25 score for the question, ties as in the dataset."""
    words = _tokenised([f"{document.title} {document.text}" for document in pool], return_ids=True)
    index = bm25s.BM25()
    indexed = any(words.ids)  # bm25s refuses a corpus without words
    if indexed:
        index.index(words, show_progress=False)

    def ranking(question: Question) -> Iterator[int]:
        asked = _tokenised([question.question], return_ids=False)[0]
        known = [word for word in asked if indexed and word in index.vocab_dict]
        scores = index.get_scores(known) if known else np.zeros(len(pool))
        return iter(np.argsort(-scores, kind="stable").tolist())

    return ranking


def _tokenised(texts: Sequence[str], *, return_ids: bool) -> Any:
    """Return the terms of texts without English stop words, as bm25s takes them."""
    # bm25s splits by a pattern of Python's re, which knows no scripts: it gets the terms one a line.
    lines = ["\n".join(terms(text)) for text in texts]
    return bm25s.tokenize(lines, token_pattern=".+", stopwords="en", return_ids=return_ids, show_progress=False)


def _random_ranking(pool: Sequence[Document], seed: int) -> Ranking:
    """Rank the pool by a hash of seed, question and document: new documents reorder no old ones."""

    def ranking(question: Question) -> Iterator[int]:
        def sort_key(index: int) -> bytes:
            return hashlib.sha256(f"{seed}/{question.question_id}/{pool[index].document_id}".encode()).digest()

        return iter(sorted(range(len(pool)), key=sort_key))

    return ranking
