"""The contexts of one shard: every question × number of documents × gold index, and the controls."""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lenscore.contexts.answers import answer_in_document
from lenscore.contexts.context import AnswerInDistractor, Condition, Context, LeftOutQuestion
from lenscore.contexts.distractors import Distractors, DistractorSource
from lenscore.contexts.positions import gold_indices, relative_position
from lenscore.contexts.prompts import render_prompt
from lenscore.contexts.questions import Document, Question
from lenscore.errors import ContextError, shown
from lenscore.study.context_sets import AnswerInDistractors, ContextSetSpec
from lenscore.study.prompt import Template

logger = logging.getLogger(__name__)


class ShardContexts(NamedTuple):
    """The contexts of a shard, each question's together, and what is not as it should be."""

    contexts: list[Context]
    left_out: list[LeftOutQuestion]
    answers_in_distractors: list[AnswerInDistractor]


def build_contexts(
    dataset: Sequence[Question],
    shard: Sequence[Question],
    *,
    first_place: int,
    set_name: str,
    spec: ContextSetSpec,
    template: Template,
    missing_answer: Literal["error", "skip"],
    answer_in_distractors: AnswerInDistractors = "keep",
    reserved: Collection[str] = (),
) -> ShardContexts:
    """Build a shard's contexts.

    Args:
        dataset: all questions of the dataset, the pool of distractors.
        shard: the questions to build contexts for, in the study's order.
        first_place: place of the shard's first question in the study's order, from 0.
        set_name: the context set's name.
        spec: the context set.
        template: the wording.
        missing_answer: what to do with a question none of whose answers is in its gold document.
        answer_in_distractors: what to do with a distractor of the dataset's own that holds an accepted answer.
        reserved: ids of gold documents that are drawn as no distractor (``contexts.questions.reserved_golds``).

    Raises:
        ContextError: a question has no gold document, too few distractors, or (unless
            ``missing_answer`` is ``skip``) no answer in its gold document; or a distractor of the dataset's own holds
            an answer, and ``answer_in_distractors`` is ``error``.
    """
    source = DistractorSource(spec.distractors, dataset, spec.seed, answer_in_distractors, reserved)
    context_set = _ContextSet(set_name, spec, template, source)
    shard_contexts = ShardContexts([], [], [])
    for place, question in enumerate(shard, start=first_place):
        if question.gold is None and (spec.documents or "oracle" in spec.controls):
            raise ContextError(
                f"question {shown(question.question_id)} ({shown(question.question)}): the dataset has no gold "
                f"document for it; set documents: [] and controls: [closed_book] in context set {set_name}, or take "
                "another dataset"
            )
        try:
            answer = _answer(question)
        except ContextError as error:
            if missing_answer == "error":
                raise ContextError(
                    f"question {shown(question.question_id)} ({shown(question.question)}): {error}; correct the "
                    "dataset, or set missing_answer: skip to leave such questions out"
                ) from error
            shard_contexts.left_out.append(LeftOutQuestion(set_name, question.question_id, place, str(error)))
            continue
        distractors = context_set.distractors_of(question)
        shard_contexts.answers_in_distractors.extend(
            AnswerInDistractor(set_name, question.question_id, document.document_id, answer_in_distractors == "drop")
            for document in distractors.with_answer
        )
        shard_contexts.contexts.extend(context_set.contexts_of(question, place, answer, distractors.documents))
    _log_counts(set_name, len(shard), shard_contexts)
    return shard_contexts


def _log_counts(set_name: str, n_questions: int, made: ShardContexts) -> None:
    logger.info("context set %s: %d contexts of %d questions", set_name, len(made.contexts), n_questions)
    if made.left_out:
        logger.warning(
            "context set %s: %d of %d questions left out (missing_answer: skip), the first %s: %s",
            set_name,
            len(made.left_out),
            n_questions,
            shown(made.left_out[0].question_id),
            made.left_out[0].reason,
        )
    if made.answers_in_distractors:
        first = made.answers_in_distractors[0]
        logger.warning(
            "context set %s: %d of the dataset's own distractors hold an accepted answer and are %s, the first %s",
            set_name,
            len(made.answers_in_distractors),
            "dropped" if first.dropped else "kept (answer_in_distractors says what to do with them)",
            shown(first.document_id),
        )


def _answer(question: Question) -> str:
    if question.gold is not None:
        return answer_in_document(question.answers, question.gold.text)
    return " ".join(question.answers[0].split())


@dataclass(frozen=True)
class _ContextSet:
    """What the contexts of all questions of a set have in common."""

    name: str
    spec: ContextSetSpec
    template: Template
    source: DistractorSource

    def distractors_of(self, question: Question) -> Distractors:
        """Return the distractors of one question: those of its largest context, and one more for shuffled_gold."""
        if not self.spec.documents:
            return Distractors([], [])
        substitute = "shuffled_gold" in self.spec.controls
        return self.source.distractors_of(question, max(self.spec.documents) - 1, substitute=substitute)

    def contexts_of(self, question: Question, place: int, answer: str, ranked: Sequence[Document]) -> Iterator[Context]:
        """Yield all contexts of one question.

        Args:
            question: the question.
            place: its place in the study's order.
            answer: the accepted answer that the study uses.
            ranked: its distractors, as :meth:`distractors_of` returns them.
        """
        spec = self.spec
        in_order = self._in_order(question, ranked)
        shuffled = "shuffled_gold" in spec.controls

        def context(
            condition: Condition, suffix: str, gold_index: int | None, documents: list[Document] | None, order: int = 0
        ) -> Context:
            segments, answer_in_prompt = render_prompt(self.template, question.question, documents, answer)
            count = len(documents or [])
            return Context(
                context_id=f"{self.name}/{question.question_id}/{suffix}",
                context_set=self.name,
                question_id=question.question_id,
                question_place=place,
                condition=condition,
                n_documents=count,
                distractor_order=order,
                gold_index=gold_index,
                relative_position=None if gold_index is None else relative_position(gold_index, count),
                segments=tuple(segments),
                answer=answer_in_prompt,
                document_ids=tuple(document.document_id for document in documents or []),
            )

        if "closed_book" in spec.controls:
            yield context("closed_book", "closed_book", None, None)
        gold = question.gold
        if gold is None:
            return
        if "oracle" in spec.controls:
            yield context("oracle", "oracle", 0, [gold])
        for count in sorted(spec.documents):
            distractors = in_order[: count - 1]
            for index in gold_indices(spec.positions, count):
                yield context("documents", f"{count}/{index}", index, _inserted(gold, index, distractors))
                if shuffled:
                    # One substitute at all lengths and places, so that these contexts share their prefixes too.
                    documents = _inserted(ranked[-1], index, distractors)
                    yield context("shuffled_gold", f"{count}/{index}/shuffled_gold", index, documents)
                # A single distractor has only one order.
                for order in range(1, spec.orders if count > 2 else 1):
                    documents = _inserted(gold, index, self.source.reordered(question, distractors, order))
                    yield context("documents", f"{count}/{index}/order-{order}", index, documents, order)

    def _in_order(self, question: Question, ranked: Sequence[Document]) -> list[Document]:
        """Return the distractors of a question's largest context in the set's own order.

        Shuffled, all of them are, whatever number a context takes from the start of the list: at every number of
        documents, a distractor's place says nothing of how hard it is, and neither does the number itself.
        """
        of_largest = list(ranked[: max(self.spec.documents, default=1) - 1])
        return self.source.reordered(question, of_largest, 0) if self.spec.order == "shuffled" else of_largest


def _inserted(document: Document, index: int, others: Sequence[Document]) -> list[Document]:
    return [*others[:index], document, *others[index:]]
