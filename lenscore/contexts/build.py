"""The contexts of one shard: every question × number of documents × gold index, and the controls."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pyarrow as pa

from lenscore.contexts.answers import answer_in_document
from lenscore.contexts.distractors import DistractorSource
from lenscore.contexts.positions import gold_indices, relative_position
from lenscore.contexts.prompts import Template
from lenscore.contexts.questions import Document, Question
from lenscore.errors import ContextError
from lenscore.records import CONTEXTS, LEFT_OUT
from lenscore.study.context_sets import ContextSetSpec


def build_contexts(
    dataset: Sequence[Question],
    shard: Sequence[Question],
    *,
    set_name: str,
    spec: ContextSetSpec,
    template: Template,
    missing_answer: Literal["error", "skip"],
) -> tuple[pa.Table, pa.Table]:
    """Build a shard's contexts.

    Args:
        dataset: all questions of the dataset, the pool of distractors.
        shard: the questions to build contexts for.
        set_name: the context set's name.
        spec: the context set.
        template: the wording.
        missing_answer: what to do with a question none of whose answers is in its gold document.

    Returns:
        The contexts (``records.CONTEXTS``) and the questions left out (``records.LEFT_OUT``).

    Raises:
        ContextError: a question has no gold document, too few distractors, or (unless
            ``missing_answer`` is ``skip``) no answer in its gold document.
    """
    source = DistractorSource(spec.distractors, dataset, spec.seed)
    contexts: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    for question in shard:
        if question.gold is None and (spec.documents or "oracle" in spec.controls):
            raise ContextError(
                f"question {question.question_id} ({question.question!r}): the dataset brings no gold document for it; "
                f"set documents: [] and controls: [closed_book] in context set {set_name}, or take another dataset"
            )
        try:
            answer = _answer(question)
        except ContextError as error:
            if missing_answer == "error":
                raise ContextError(
                    f"question {question.question_id} ({question.question!r}): {error}; correct the dataset, "
                    "or set missing_answer: skip to leave such questions out"
                ) from error
            left_out.append({"context_set": set_name, "question_id": question.question_id, "reason": str(error)})
            continue
        contexts += _contexts_of(question, answer, set_name, spec, template, source)
    return pa.Table.from_pylist(contexts, schema=CONTEXTS), pa.Table.from_pylist(left_out, schema=LEFT_OUT)


def _answer(question: Question) -> str:
    if question.gold is not None:
        return answer_in_document(question.answers, question.gold.text)
    return " ".join(question.answers[0].split())


def _contexts_of(
    question: Question,
    answer: str,
    set_name: str,
    spec: ContextSetSpec,
    template: Template,
    source: DistractorSource,
) -> Iterator[dict[str, Any]]:
    shuffled = "shuffled_gold" in spec.controls
    drawn = source.draw(question, max(spec.documents) - 1, stand_in=shuffled) if spec.documents else []

    def row(
        condition: str, suffix: str, gold_index: int | None, documents: list[Document] | None, order: int = 0
    ) -> dict[str, Any]:
        segments, spoken = template.render(question.question, documents, answer)
        count = len(documents or [])
        return {
            "context_id": f"{set_name}/{question.question_id}/{suffix}",
            "context_set": set_name,
            "question_id": question.question_id,
            "condition": condition,
            "n_documents": count,
            "distractor_order": order,
            "gold_index": gold_index,
            "relative_position": None if gold_index is None else relative_position(gold_index, count),
            "segments": [segment._asdict() for segment in segments],
            "answer": spoken,
            "document_ids": [document.document_id for document in documents or []],
        }

    if "closed_book" in spec.controls:
        yield row("closed_book", "closed_book", None, None)
    gold = question.gold
    if gold is None:
        return
    if "oracle" in spec.controls:
        yield row("oracle", "oracle", 0, [gold])
    for count in sorted(spec.documents):
        distractors = drawn[: count - 1]
        for index in gold_indices(spec.positions, count):
            yield row("documents", f"{count}/{index}", index, _placed(gold, index, distractors))
            if shuffled:
                # The same document at all lengths and places, so that these contexts share their prefixes too.
                stand_in = _placed(drawn[-1], index, distractors)
                yield row("shuffled_gold", f"{count}/{index}/shuffled_gold", index, stand_in)
            # One distractor has one order.
            for order in range(1, spec.orders if count > 2 else 1):
                redrawn = _placed(gold, index, source.redrawn(question, distractors, order))
                yield row("documents", f"{count}/{index}/order-{order}", index, redrawn, order)


def _placed(document: Document, index: int, others: Sequence[Document]) -> list[Document]:
    return [*others[:index], document, *others[index:]]
