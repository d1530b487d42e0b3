"""Rule build_contexts: the contexts of one shard of a context set."""

from pathlib import Path
from typing import Literal

from lenscore.plan.job import Files, Job
from lenscore.study.context_sets import AnswerInDistractors, ContextSetSpec
from lenscore.study.prompt import Template


class ContextsInputs(Files):
    """The dataset's questions."""

    questions: Path


class ContextsOutputs(Files):
    """The contexts, the questions that have none, and the distractors that hold an answer."""

    contexts: Path
    left_out: Path
    answers_in_distractors: Path


class ContextsJob(Job):
    """Build the contexts of a block of questions.

    Attributes:
        context_set: its name.
        spec: the context set; fields that concern a model's window are set to their defaults.
        template: the wording.
        order: seed of the study's order of questions.
        first: place in that order of the shard's first question.
        end: place after its last.
        missing_answer: what to do with a question none of whose answers is in its gold document.
        answer_in_distractors: what to do with a distractor of the dataset's own that holds an answer.
    """

    inputs: ContextsInputs
    outputs: ContextsOutputs
    context_set: str
    spec: ContextSetSpec
    template: Template
    order: int
    first: int
    end: int
    missing_answer: Literal["error", "skip"]
    answer_in_distractors: AnswerInDistractors
