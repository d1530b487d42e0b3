"""Workloads: contexts as a study builds them, as token ids."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pyarrow.parquet as pq
from transformers import AutoConfig, AutoTokenizer

from benchmarks.lens.exchange import Context
from lenscore.contexts.answers import contains_an_answer
from lenscore.contexts.build import build_contexts
from lenscore.contexts.questions import Question, read_questions, study_order
from lenscore.errors import ConfigError, SourceError
from lenscore.extraction.fitting import fit_question
from lenscore.extraction.tokens import ContextTokenizer
from lenscore.sources.datasets import fetch_dataset
from lenscore.sources.tables import QUESTIONS
from lenscore.study.context_sets import ContextSetSpec
from lenscore.study.dataset import DatasetSpec
from lenscore.study.prompt import read_template, template_path
from lenscore.study.run_settings import Overflow


@dataclass(frozen=True)
class Workload:
    """Numbers of documents × positions of the gold document."""

    documents: tuple[int, ...]
    positions: int | Literal["all"]

    @property
    def name(self) -> str:
        """What the command line and the results call it."""
        return f"{','.join(map(str, self.documents))}x{self.positions}"


# At least: bounds the search for a number of documents.
_TOKENS_OF_A_DOCUMENT = 20

WORKLOADS = (Workload((10,), 5), Workload((5, 10, 20), 5), Workload((2, 4, 6, 8), "all"))


class ContextSource:
    """Builds contexts of a dataset's questions for a model.

    Args:
        model: the model's folder.
        dataset: a file of questions; None for the project's own.

    Raises:
        SourceError: there is no model, or the dataset cannot be read.
    """

    def __init__(self, model: Path, dataset: Path | None):
        if not (model / "config.json").is_file():
            raise SourceError(f"{model}: no model there; make bench fetches the default one")
        source = "embedded:questions" if dataset is None else f"path:{dataset.resolve()}"
        with TemporaryDirectory() as scratch:
            folder = Path(scratch, "dataset")
            fetch_dataset(DatasetSpec(source=source), folder)
            self._dataset = read_questions(pq.read_table(folder / "questions.parquet", schema=QUESTIONS).to_pylist())
        self._template = read_template(template_path("few_shot"))
        self._tokenizer = ContextTokenizer(AutoTokenizer.from_pretrained(model, local_files_only=True))
        self._window: int = AutoConfig.from_pretrained(model, local_files_only=True).max_position_embeddings

    def contexts(self, workload: Workload, questions: int) -> list[list[Context]]:
        """Return the contexts of the first ``questions`` of a study's order, one entry a question.

        Raises:
            ConfigError: the dataset has fewer.
            ContextError: a context is longer than the model's window.
        """
        return self._tokenised(workload, questions, self._window)

    def workload_within(self, length: int, positions: int) -> Workload:
        """Return the largest number of documents with which the first question's contexts have ``length`` tokens."""

        def longest(documents: int) -> int:
            (contexts,) = self._tokenised(Workload((documents,), positions), 1, None)
            return max(len(context.ids) for context in contexts)

        most = min(len(self._dataset), length // _TOKENS_OF_A_DOCUMENT)
        too_many = bisect_right(range(positions, most), length, key=longest)
        return Workload((positions + too_many - 1,), positions)

    def _tokenised(self, workload: Workload, questions: int, window: int | None) -> list[list[Context]]:
        usable = (question for question in study_order(self._dataset, seed=0) if _has_answer(question))
        chosen = list(islice(usable, questions))
        if len(chosen) < questions:
            raise ConfigError(f"{questions} questions are asked for, but the dataset has {len(chosen)} with an answer")
        contexts, *_ = build_contexts(
            self._dataset,
            chosen,
            first_place=0,
            set_name="benchmark",
            spec=ContextSetSpec(documents=[*workload.documents], positions=workload.positions, distractors="bm25"),
            template=self._template,
            missing_answer="error",
        )
        by_question = groupby(contexts, key=lambda context: context.question_id)
        fitted = [fit_question(list(group), self._tokenizer, Overflow("error"), window) for _, group in by_question]
        return [
            [Context(found.tokens.ids, found.tokens.answer_start) for found in of_question if found.tokens is not None]
            for of_question in fitted
        ]


def _has_answer(question: Question) -> bool:
    return question.gold is not None and contains_an_answer(question.gold.text, question.answers)
