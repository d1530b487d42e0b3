"""What rounding costs: every choice of ``dtype`` and ``matmul`` compared with exact float32, on the same contexts.

Prints a JSON line a choice: agreement of the top-1, difference of the target's log-probability, effect on the depths
that a study measures. It measures no time, so other work may run on the machine.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.lens.console import add_common_arguments, print_lines, say
from benchmarks.lens.exchange import Questions
from benchmarks.lens.lines import Line
from benchmarks.lens.workloads import ContextSource, Workload
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.engine import LensEngine
from lenscore.extraction.tokens import TokenisedContext
from lenscore.models.products import ONEDNN_DTYPES
from lenscore.study.models import Matmul

_ROUNDED: tuple[tuple[str, Matmul], ...] = (("float32", "bf16"),) if torch.bfloat16 in ONEDNN_DTYPES else ()
_CHOICES = (*_ROUNDED, ("bfloat16", "exact"), ("float16", "exact"))


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lens.precision",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common_arguments(parser)
    parser.add_argument("--questions", type=int, default=20, help="10 documents × 5 positions each")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    return print_lines(_lines(arguments.model, arguments.dataset, arguments.questions))


def _lines(model: Path, dataset: Path | None, n_questions: int) -> Iterator[Line]:
    questions = ContextSource(model, dataset).contexts(Workload((10,), 5), n_questions)
    exact = _run(model, "float32", "exact", questions)
    for dtype, matmul in _CHOICES:
        yield {
            "kind": "precision",
            "dtype": dtype,
            "matmul": matmul,
            **_cost(_run(model, dtype, matmul, questions), exact),
        }


@dataclass(frozen=True)
class TokenRecords:
    """What a run says of every answer token of every context.

    Attributes:
        right: layers × tokens, whether the top-1 is the target.
        top1_id: layers × tokens.
        target_logprob: layers × tokens.
    """

    right: np.ndarray
    top1_id: np.ndarray
    target_logprob: np.ndarray

    def depths(self) -> tuple[np.ndarray, np.ndarray]:
        """Return refinement depths, and which tokens have one: those that the last layer gets right."""
        n_layers = len(self.right)
        first = self.right.argmax(0)
        settled = n_layers - np.logical_and.accumulate(self.right[::-1]).sum(0)
        return settled - first, self.right[-1]


def _run(model: Path, dtype: str, matmul: Matmul, questions: Questions) -> TokenRecords:
    engine = LensEngine(CheckedRun.load(model, dtype, matmul, device="cpu"))
    tokenised = [[TokenisedContext(context.ids, context.n_prompt, False) for context in some] for some in questions]
    found = [by_lens["logit"] for some in engine.statistics(tokenised) for by_lens in some]
    say(f"{dtype}, {matmul}: {len(found)} contexts")
    top1_id = torch.cat([statistics.top1_id for statistics in found], 1).numpy()
    targets = np.concatenate([context.targets for some in questions for context in some])
    logprob = torch.cat([statistics.target_logprob for statistics in found], 1).numpy()
    return TokenRecords(top1_id == targets, top1_id, logprob)


def _cost(found: TokenRecords, exact: TokenRecords) -> Line:
    depth, has_depth = found.depths()
    exact_depth, exact_has_depth = exact.depths()
    both = has_depth & exact_has_depth
    difference = (depth - exact_depth)[both]
    return {
        "rows": exact.top1_id.size,
        "top1_agreement": float((found.top1_id == exact.top1_id).mean()),
        "top1_agreement_of_last_layer": float((found.top1_id[-1] == exact.top1_id[-1]).mean()),
        "mean_logprob_difference": float(np.abs(found.target_logprob - exact.target_logprob).mean()),
        "mean_logprob_difference_of_last_layer": float(
            np.abs(found.target_logprob[-1] - exact.target_logprob[-1]).mean()
        ),
        "tokens": int(exact.right.shape[1]),
        "tokens_right": int(exact_has_depth.sum()),
        "tokens_right_in_both": int(both.sum()),
        "refinement_depth": float(exact_depth[exact_has_depth].mean()),
        "refinement_depth_here": float(depth[has_depth].mean()),
        "same_refinement_depth": float((difference == 0).mean()),
        "mean_depth_difference": float(np.abs(difference).mean()),
    }


if __name__ == "__main__":
    sys.exit(main())
