r"""Measure prompt templates: how many answer tokens a model gets right after each.

Refinement depth is defined on answer tokens that the last layer gets right, so the template
decides how many there are. Prints a JSON line a template. Example, on a fetched study:

    python benchmarks/prompts.py --model resources/models/<model> \
        --questions resources/datasets/<dataset>/questions.parquet --count 100 --documents 5
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from lenscore.contexts.build import build_contexts
from lenscore.contexts.context import Context
from lenscore.contexts.questions import read_questions, study_order
from lenscore.extraction.tokens import ContextTokenizer
from lenscore.sources.tables import QUESTIONS
from lenscore.study.context_sets import ContextSetSpec
from lenscore.study.prompt import PROMPTS, read_template, template_path


def measure(model: PreTrainedModel, tokenizer: ContextTokenizer, contexts: Sequence[Context]) -> dict[str, float]:
    """Return the accuracies over contexts, by the model's own logits."""
    first, tokens, whole, lengths = [], [], [], []
    for context in contexts:
        tokenised = tokenizer.tokenise(context.segments, context.answer)
        keep = len(tokenised.answer_ids) + 1
        with torch.inference_mode():
            logits = model(torch.tensor([tokenised.ids]), use_cache=False, logits_to_keep=keep).logits[0, :-1]
        right = (logits.argmax(-1) == torch.tensor(tokenised.answer_ids)).tolist()
        first.append(right[0])
        whole.append(all(right))
        tokens += right
        lengths.append(len(tokenised.ids))

    def mean(values: Sequence[float]) -> float:
        return round(float(sum(values)) / len(values), 3)

    return {
        "contexts": len(contexts),
        "tokens": mean(lengths),
        "first_token": mean(first),
        "answer_tokens": mean(tokens),
        "whole_answer": mean(whole),
    }


def main() -> None:
    """Measure the templates named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--documents", type=int, default=5)
    parser.add_argument("--gold", type=int, nargs="+", help="gold indices; by default the middle one")
    parser.add_argument("--templates", nargs="+", default=sorted(path.stem for path in PROMPTS.glob("*.yaml")))
    arguments = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    tokenizer = ContextTokenizer(AutoTokenizer.from_pretrained(arguments.model))
    dataset = read_questions(pq.read_table(arguments.questions, schema=QUESTIONS).to_pylist())
    shard = study_order(dataset, seed=0)[: arguments.count]
    spec = ContextSetSpec(
        documents=[arguments.documents], positions=arguments.gold or [arguments.documents // 2], distractors="auto"
    )
    for name in arguments.templates:
        start = time.perf_counter()
        contexts, left_out, _ = build_contexts(
            dataset,
            shard,
            first_place=0,
            set_name="prompts",
            spec=spec,
            template=read_template(template_path(name)),
            missing_answer="skip",
        )
        figures = measure(model, tokenizer, contexts)
        seconds = round(time.perf_counter() - start)
        print(json.dumps({"template": name, **figures, "left_out": len(left_out), "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
