"""One family through the lens and through the reference, and what came of it."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from benchmarks.families.reference import logits_of_layers, logits_without
from benchmarks.families.tiny import VOCABULARY, tiny_model
from lenscore.ablation.engine import AblationEngine
from lenscore.errors import LenscoreError
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.tokens import TokenisedContext
from lenscore.models.loading import LoadedModel
from lenscore.prefix_tree.limits import Limits
from lenscore.prefix_tree.sharing import ContextRunner

if TYPE_CHECKING:
    from lenscore.study.ablation import Scope

# Largest differences of log-probabilities that rounding explains, in nats.
_ALLOWED = {torch.float32: 2e-3, torch.bfloat16: 0.5}
_LONGEST = 120  # characters of a reason
_SEVERAL_CHUNKS = Limits(tree_tokens=60, chunk_tokens=11, mixes_questions=False)


@dataclass(frozen=True)
class Outcome:
    """What came of a family.

    Attributes:
        model_class: the class of the model.
        verdict: ``agrees``, ``refused``, ``not run``, or ``wrong``.
        reason: why it was not run or refused, or what is wrong; why contexts run one by one; else empty.
        float32: largest difference of a log-probability from the model's own tail, at any layer, in nats.
        bfloat16: the same in bfloat16; None where that was refused.
        ablation: the same with each block skipped, in float32; None where ablation was refused.
    """

    model_class: str
    verdict: str
    reason: str = ""
    float32: float | None = None
    bfloat16: float | None = None
    ablation: float | None = None


def outcome(model_type: str, model_class: str) -> Outcome:
    """Compare a family's tiny model with its own code."""
    try:
        hard = tiny_model(model_type)
        ids = contexts()[0].ids
        with torch.inference_mode():
            finite = hard(input_ids=torch.tensor([ids]), use_cache=False).logits.isfinite().all()
        model = hard if finite else tiny_model(model_type, hard=False)
    except Exception as error:
        return Outcome(model_class, "not run", _line(error))
    try:
        float32, reason = _of_lens(model, torch.float32)
    except LenscoreError as error:
        return Outcome(model_class, "refused", _line(error))
    if float32 > _ALLOWED[torch.float32]:
        return Outcome(model_class, "wrong", f"float32 differs; {reason}", float32)
    try:
        bfloat16, _ = _of_lens(model, torch.bfloat16)
    except (LenscoreError, RuntimeError) as error:
        reason, bfloat16 = f"{reason}; bfloat16: {_line(error)}", None
    try:
        ablation = _of_ablation(model)
    except LenscoreError as error:
        reason, ablation = f"{reason}; ablation: {_line(error)}", None
    wrong = [name for name, found in (("ablation", ablation),) if found is not None and found > _ALLOWED[torch.float32]]
    wrong += ["bfloat16"] if bfloat16 is not None and bfloat16 > _ALLOWED[torch.bfloat16] else []
    if wrong:
        reason = f"{', '.join(wrong)} differs; {reason}"
    return Outcome(model_class, "wrong" if wrong else "agrees", reason.strip("; "), float32, bfloat16, ablation)


def contexts() -> list[TokenisedContext]:
    """Return contexts as a question has them: documents in several orders, and a shorter one."""
    generator = torch.Generator().manual_seed(3)
    head, first, second, gold, tail = (
        torch.randint(3, VOCABULARY, (n,), generator=generator).tolist() for n in (4, 14, 12, 13, 5)
    )
    prompts = [head + gold + first + second, head + first + gold + second, head + first + second + gold, head + gold]
    return [
        TokenisedContext(prompt + tail, len(prompt) + 2, False, f"context {number}")
        for number, prompt in enumerate(prompts)
    ]


def _of_lens(model: PreTrainedModel, dtype: torch.dtype) -> tuple[float, str]:
    """Return the largest difference over layers and ways of running, and why contexts do not share prefixes."""
    own = _in_precision(model, dtype)
    blocks = LoadedModel.of(own).architecture.blocks
    question = contexts()
    expected = torch.cat(
        [logits_of_layers(own, blocks, context.ids)[:, list(context.predicting_positions)] for context in question],
        dim=1,
    )
    run = CheckedRun(LoadedModel.of(_in_precision(model, dtype)))
    found = [next(iter(run.states([question])))[1]]
    reason = run.runner.fallback_reason or ""
    if not reason:
        chunked = ContextRunner(run.loaded, _SEVERAL_CHUNKS)
        found.append(chunked.states(question))
        found.append(torch.cat([chunked.states_of_one(context) for context in question], dim=1))
    with torch.inference_mode():
        return max(_difference(run.loaded.unembedding(states), expected) for states in found), reason


def _in_precision(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    copied: Any = copy.deepcopy(model)
    converted: PreTrainedModel = copied.to(dtype)
    return converted


def _of_ablation(model: PreTrainedModel) -> float:
    own = copy.deepcopy(model)
    blocks = LoadedModel.of(own).architecture.blocks
    question = contexts()[:2]
    scopes: list[Scope] = ["all", "answer"]
    engine = AblationEngine(CheckedRun(LoadedModel.of(copy.deepcopy(model))))
    largest = 0.0
    for context, by_scope in zip(question, engine.predictions([question], scopes, ["skip"]), strict=True):
        positions = context.predicting_positions
        for scope in scopes:
            rows = slice(None) if scope == "all" else slice(positions.start, positions.stop)
            for index, block in enumerate(blocks):
                own_logits = logits_without(own, block, context.ids, rows)[list(positions)]
                expected = torch.log_softmax(own_logits, -1)[range(len(positions)), context.answer_ids]
                difference = by_scope[scope].target_logprob[index] - expected
                largest = max(largest, difference.abs().max().item())
    return largest


def _difference(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference of a log-probability; a NaN is infinite."""
    difference = (torch.log_softmax(found, -1) - torch.log_softmax(expected, -1)).abs().max().item()
    return difference if difference == difference else float("inf")


def _line(error: Exception) -> str:
    """Return the first words of an error; what the project's own say of class and family stands in the table."""
    said = " ".join(str(error).split())
    if isinstance(error, LenscoreError):
        return said.partition("): ")[2][:_LONGEST]
    return f"{type(error).__name__}: {said}"[:_LONGEST]
