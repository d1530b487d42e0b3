"""What each block adds to the residual stream on average, over a reference set of contexts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, PreTrainedModel

from lenscore.ablation.engine import Means
from lenscore.ablation.shard import can_be_ablated
from lenscore.contexts.context import Context
from lenscore.errors import ContextError
from lenscore.extraction.engine import load_model, resolve_device, use_threads
from lenscore.extraction.shard import fit_contexts, group_by_question, window_of
from lenscore.extraction.tokens import ContextTokenizer, TokenisedContext
from lenscore.files import written_whole
from lenscore.models.architecture import find_architecture
from lenscore.models.blocks import blocks_run_by, state_entering, state_leaving
from lenscore.models.packed_linears import pack_linears
from lenscore.prefix_tree.limits import too_small
from lenscore.study.ablation import Scope
from lenscore.study.reading import Reading


@dataclass(frozen=True)
class ReferenceMeans:
    """Mean contributions in float32 by scope, and over what they were taken.

    Attributes:
        means: over all tokens that are read, and over those that predict the answer.
        questions: ids of the questions.
        n_contexts: their contexts.
        n_tokens: tokens by scope; one that stands in several contexts counts in each.
    """

    means: Means
    questions: list[str]
    n_contexts: int
    n_tokens: dict[Scope, int]


def reference_means(
    contexts: Sequence[Context],
    model_folder: Path,
    *,
    n_questions: int,
    documents: Sequence[int],
    reading: Reading,
    device: str,
    threads: int,
) -> ReferenceMeans:
    """Take each block's mean contribution over contexts of the study's first questions.

    Args:
        contexts: of one context set, each question's together; those of later questions are not used.
        model_folder: safetensors, config and tokenizer.
        n_questions: how many of the study's first questions; those of which no context fits count too.
        documents: numbers of documents of the contexts.
        reading: precision, window, and what to do with a context that is longer.
        device: where to run.
        threads: CPU threads.

    Raises:
        ContextError: a context cannot be tokenised or does not fit, or there is none.
        ArchitectureError: a part of the model was not found.
    """
    use_threads(threads)
    model = load_model(model_folder, reading.dtype, resolve_device(device))
    tokenizer = ContextTokenizer(AutoTokenizer.from_pretrained(model_folder, local_files_only=True))
    first = [context for context in contexts if context.question_place < n_questions]
    fitted = fit_contexts(first, tokenizer, reading.overflow, window_of(model, reading.window))
    by_question = group_by_question(context for context in fitted if can_be_ablated(context.context, documents))
    if not by_question:
        raise ContextError(
            f"no context with {list(documents)} documents fits the model: there is nothing to take blocks' means over; "
            "take mean out of ablation.replacements, or see overflow in docs/configuration.md"
        )
    pack_linears(model, find_architecture(model).blocks, reading.matmul)
    tokens = [tokens for pairs in by_question for _, tokens in pairs]
    return ReferenceMeans(
        mean_contributions(model, tokens),
        [pairs[0][0].question_id for pairs in by_question],
        len(tokens),
        _n_tokens(tokens),
    )


@torch.inference_mode()
def mean_contributions(model: PreTrainedModel, contexts: Sequence[TokenisedContext]) -> Means:
    """Return each block's mean contribution, its output less its input, over all tokens of all contexts.

    The model's own code runs context by context: beside the passes of an ablation this is little.

    Raises:
        ContextError: the model does not fit its processor.
    """
    blocks = find_architecture(model).blocks
    width = model.config.get_text_config().hidden_size
    sums = torch.zeros(2, len(blocks), width, dtype=torch.float64, device=model.device)

    def run_block(predicting: range, index: int, forward: Any, *args: Any, **kwargs: Any) -> Any:
        entering = state_entering(args, kwargs)[0].double()
        output = forward(*args, **kwargs)
        contribution = state_leaving(output)[0].double() - entering
        sums[0, index] += contribution[:-1].sum(0)  # nothing is predicted from the last token
        sums[1, index] += contribution[list(predicting)].sum(0)
        return output

    for context in contexts:
        ids = torch.tensor([context.ids], device=model.device)
        try:
            with blocks_run_by(blocks, partial(run_block, context.predicting_positions)):
                find_architecture(model).backbone(input_ids=ids, use_cache=False)
        except torch.OutOfMemoryError:
            raise too_small(len(context.ids)) from None
    n_tokens = _n_tokens(contexts)
    return {"all": (sums[0] / n_tokens["all"]).float(), "answer": (sums[1] / n_tokens["answer"]).float()}


def _n_tokens(contexts: Sequence[TokenisedContext]) -> dict[Scope, int]:
    return {
        "all": sum(len(context.predicting_ids) for context in contexts),
        "answer": sum(len(context.predicting_positions) for context in contexts),
    }


def write_means(reference: ReferenceMeans, path: Path) -> None:
    """Write means as safetensors beside ``path``, then rename; over what they were taken goes into the metadata."""
    metadata = {
        "questions": json.dumps(reference.questions),
        "contexts": str(reference.n_contexts),
        "tokens": json.dumps(reference.n_tokens, sort_keys=True),
    }
    with written_whole(path) as beside:
        save_file({scope: mean.cpu().contiguous() for scope, mean in reference.means.items()}, beside, metadata)
