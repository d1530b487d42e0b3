"""Contexts with the lengths and the common prefixes of a study's."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from transformers import AutoTokenizer

from benchmarks.lens.exchange import Context
from benchmarks.lens.flops import Tokens
from lenscore.contexts.answers import occurrence
from lenscore.contexts.positions import gold_indices
from lenscore.contexts.prompts import render_prompt
from lenscore.contexts.questions import Document
from lenscore.extraction.tokens import ContextTokenizer, TokenisedContext
from lenscore.study.prompt import read_template, template_path

Questions = Sequence[Sequence[TokenisedContext]]

_DATASET = Path(__file__).resolve().parents[2] / "lenscore/data/questions.jsonl"

# Tokens of the parts of a prompt of the template few_shot on our own questions, in SmolLM2's tokens: three worked
# examples, a document with its title, the question, its answer.
_HEAD, _DOCUMENT, _QUESTION, _ANSWER = 210, 150, 22, 3


def made_questions(
    n_questions: int, documents: int, positions: Literal["all"] | int, vocabulary: int, small: bool = False
) -> list[list[TokenisedContext]]:
    """Return contexts of random tokens, one entry a question.

    As in a study, the contexts of a question have the same documents in the same order but for the gold one, and all
    contexts have the same head.

    Args:
        n_questions: how many questions.
        documents: in each context, of about 150 tokens.
        positions: of the gold document, as a context set names them.
        vocabulary: the number of token ids.
        small: with a tenth of the tokens.
    """
    draw = random.Random(0)
    sizes = [max(3, size // 10) if small else size for size in (_HEAD, _DOCUMENT, _QUESTION)]

    def tokens(n: int) -> list[int]:
        return [draw.randrange(vocabulary) for _ in range(n)]

    head = tokens(sizes[0])
    questions = []
    for _ in range(n_questions):
        others = [tokens(round(sizes[1] * draw.uniform(0.8, 1.2))) for _ in range(documents - 1)]
        gold, tail = tokens(sizes[1]), tokens(sizes[2] + _ANSWER)
        prompts = [
            [*head, *(token for one in [*others[:place], gold, *others[place:]] for token in one)]
            for place in gold_indices(positions, documents)
        ]
        questions.append([TokenisedContext(prompt + tail, len(prompt + tail) - _ANSWER, False) for prompt in prompts])
    return questions


def tokenised_questions(model: Path, n_questions: int, documents: int, positions: int) -> list[list[TokenisedContext]]:
    """Return contexts of the project's own questions for a real model; distractors are drawn at random."""
    tokenizer = ContextTokenizer(AutoTokenizer.from_pretrained(model, local_files_only=True))
    template = read_template(template_path("few_shot"))
    rows = [json.loads(line) for line in _DATASET.read_text(encoding="utf-8").splitlines()]
    gold_of = {row["id"]: Document(row["id"], row["title"], row["text"]) for row in rows}
    draw = random.Random(0)
    questions = []
    for row in draw.sample(rows, n_questions):
        others = draw.sample([document for name, document in gold_of.items() if name != row["id"]], documents - 1)
        answer = next(answer for answer in row["answers"] if occurrence(answer, row["text"], any_case=True))
        contexts = []
        for place in gold_indices(positions, documents):
            prompt = [*others[:place], gold_of[row["id"]], *others[place:]]
            contexts.append(tokenizer.tokenise(*render_prompt(template, row["question"], prompt, answer)))
        questions.append(contexts)
    return questions


def tokens_of(questions: Questions) -> Tokens:
    """Count the tokens of contexts, and those of a tree that holds all questions: on a GPU they share their head."""
    return Tokens.of_workload(
        [[Context(context.ids, context.answer_start) for contexts in questions for context in contexts]]
    )
