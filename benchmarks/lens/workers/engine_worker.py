"""The lens in this project's engine."""

import sys
from pathlib import Path

import torch

from benchmarks.lens.exchange import Answers, Questions, Results
from benchmarks.lens.protocol import Lens, serve
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.engine import LensEngine
from lenscore.extraction.statistics import LensStatistics
from lenscore.extraction.tokens import TokenisedContext
from lenscore.study.models import Matmul


def load(model: str, threads: int, matmul: Matmul) -> Lens:
    """Load a model in float32; ``matmul`` says how its matrices are multiplied."""
    torch.set_num_threads(threads)
    run = CheckedRun.load(Path(model), dtype="float32", matmul=matmul, device="cpu")

    def lens(questions: Questions) -> Results:
        tokenised = [
            [TokenisedContext(context.ids, context.n_prompt, border_merged=False) for context in contexts]
            for contexts in questions
        ]
        found = LensEngine(run).statistics(tokenised, top_k=5)
        results = [[_answers(by_lens["logit"]) for by_lens in of_question] for of_question in found]
        if run.prefix_sharing != "shared":
            print(f"lenscore shares no prefixes: {run.prefix_sharing}", file=sys.stderr)
        return results

    return lens


def _answers(statistics: LensStatistics) -> Answers:
    ids = torch.stack([statistics.top1_id, statistics.topk_ids[..., 1]], dim=-1)
    return Answers.of(ids, statistics.topk_logprobs, statistics.target_logprob)


if __name__ == "__main__":
    serve(load)
