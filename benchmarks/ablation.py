r"""Measure what ablating every block of a model costs, as multiples of a pass in which nothing is ablated.

Takes processor time on one thread, of one question's contexts. Prints a JSON line a number of documents and scope.
Example, on a fetched study:

    python -m benchmarks.ablation --model resources/models/smollm2-135m-54c0cfce \
        --questions resources/datasets/embedded-questions/questions.parquet --documents 5 10
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import torch
from transformers import AutoTokenizer

from lenscore.ablation.engine import AblationEngine
from lenscore.contexts.build import build_contexts
from lenscore.contexts.questions import read_questions, study_order
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.engine import LensEngine
from lenscore.extraction.tokens import ContextTokenizer
from lenscore.sources.tables import QUESTIONS
from lenscore.study.ablation import Scope
from lenscore.study.context_sets import ContextSetSpec
from lenscore.study.prompt import read_template, template_path

SCOPES: list[Scope] = ["answer", "all"]


def seconds(do: Callable[[], object]) -> float:
    """Return the processor time that a call takes."""
    start = time.process_time()
    do()
    return time.process_time() - start


def _drain(make: Callable[..., Iterable[object]], *arguments: object) -> None:
    """Run an iterator to its end."""
    for _ in make(*arguments):
        continue


def main() -> None:
    """Measure the numbers of documents named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--documents", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--positions", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = ContextTokenizer(AutoTokenizer.from_pretrained(arguments.model))
    dataset = read_questions(pq.read_table(arguments.questions, schema=QUESTIONS).to_pylist())
    run = CheckedRun.load(arguments.model, device="cpu")
    lens, ablation = LensEngine(run), AblationEngine(run)
    for n in arguments.documents:
        contexts, *_ = build_contexts(
            dataset,
            study_order(dataset, seed=0)[:1],
            first_place=0,
            set_name="cost",
            spec=ContextSetSpec(documents=[n], positions=arguments.positions),
            template=read_template(template_path("few_shot")),
            missing_answer="skip",
        )
        question = [tokenizer.tokenise(context.segments, context.answer) for context in contexts]
        list(lens.statistics([question]))  # the first pass is also the self-check
        intact = min(seconds(partial(_drain, lens.statistics, [question])) for _ in range(2))
        for scope in SCOPES:
            spent = seconds(partial(_drain, ablation.predictions, [question], [scope], ["skip"]))
            figures = {
                "documents": n,
                "contexts": len(question),
                "tokens": sum(len(context.ids) for context in question),
                "answer_tokens": sum(len(context.answer_ids) for context in question),
                "scope": scope,
                "intact_seconds": round(intact, 2),
                "seconds": round(spent, 1),
                "intact_passes": round(spent / intact, 1),
            }
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
