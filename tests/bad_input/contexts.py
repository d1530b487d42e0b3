"""Questions of which no contexts can be built."""

import json
from pathlib import Path
from typing import Any

from lenscore.contexts.build import build_contexts
from lenscore.contexts.questions import read_questions
from lenscore.records import read_table
from lenscore.sources.datasets import fetch_dataset
from lenscore.sources.tables import QUESTIONS
from lenscore.study.context_sets import ContextSetSpec
from lenscore.study.dataset import DatasetSpec
from lenscore.study.prompt import read_template, template_path
from tests.bad_input.case import Case
from tests.bad_input.datasets import QUESTION


def _build(row: dict[str, Any], folder: Path, spec: dict[str, Any], **keys: Any) -> None:
    (folder / "data").write_text(json.dumps(row), encoding="utf-8")
    made = folder / "made"
    fetch_dataset(DatasetSpec(source=f"path:{folder / 'data'}"), made)
    dataset = read_questions(read_table(made / "questions.parquet", QUESTIONS).to_pylist())
    build_contexts(
        dataset, dataset, first_place=0, set_name="main", spec=ContextSetSpec(**spec), missing_answer="error",
        template=read_template(template_path("few_shot")), **keys,
    )  # fmt: skip


def context(name: str, row: dict[str, Any], spec: dict[str, Any], *words: str, **keys: Any) -> Case:
    """Return a case of a question of which contexts are built."""
    return Case("context", name, lambda folder: _build(QUESTION | row, folder, spec, **keys), words)


TWO = {"documents": [2], "positions": "all"}
CONTEXTS = [
    context("the answer is not in the gold document", {"text": "It is sour."}, TWO,
            "question 'q-", "none of the accepted answers ['yellow'] occurs in the gold document",
            "missing_answer: skip"),
    context("the answer is a part of a word", {"text": "It is yellowish."}, TWO, "none of the accepted answers"),
    context("the answer is inflected", {"answers": ["вода"], "text": "Он пил воду."}, TWO,
         "none of the accepted answers"),
    context("10,000 answers, none there", {"answers": ["x" * 300] * 10_000}, TWO,
         "none of the accepted answers ['xxx"),
    context("no distractor", {}, TWO, "1 distractors are needed", "finds 0"),
    context("a distractor with the answer", {"distractors": [{"text": "Yellow, too."}]}, TWO,
            "holds one of its answers ['yellow']", "set answer_in_distractors to keep or drop",
            answer_in_distractors="error"),
    context("a distractor with the answer, in Chinese",
            {"answers": ["黄色"], "text": "它是黄色的。", "distractors": [{"text": "香蕉是黄色的。"}]}, TWO,
            "holds one of its answers", answer_in_distractors="error"),
    context("too few after distractors are dropped", {"distractors": [{"text": "Yellow, too."}]}, TWO, "finds 0",
            "answer_in_distractors: drop leaves out 1", answer_in_distractors="drop"),
]  # fmt: skip
