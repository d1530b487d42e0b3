"""What each block adds to the residual stream on average, over a reference set of contexts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from lenscore.ablation.context import AblatedContext, known_scopes, places_of
from lenscore.contexts.context import Context
from lenscore.errors import ContextError
from lenscore.extraction.fitting import fit_contexts, group_by_question, window_of
from lenscore.extraction.tokens import ContextTokenizer, TokenisedContext
from lenscore.files import written_whole
from lenscore.models.blocks import input_state, output_state, patched_blocks
from lenscore.models.causal import refuse_not_causal
from lenscore.models.device import resolve_device, use_threads
from lenscore.models.finite import first_not_finite, not_finite
from lenscore.models.loading import LoadedModel, load_model
from lenscore.models.packed_linears import pack_linears
from lenscore.prefix_tree.limits import out_of_memory
from lenscore.sources.pretrained import load_tokenizer
from lenscore.study.ablation import PARTS, Scope
from lenscore.study.run_settings import RunSettings

# Mean contribution of each block, by scope: over all tokens, over those that predict the answer, or over a part's.
Means = Mapping[Scope, Float[Tensor, "blocks width"]]


@dataclass(frozen=True)
class ReferenceMeans:
    """Mean contributions in float32 by scope, and the contexts that they are means over.

    Attributes:
        means: over all tokens that are read, over those that predict the answer, and over those of each part of the
            prompt; without a part that has no tokens, or is not known.
        questions: ids of the questions.
        n_contexts: their contexts.
        n_tokens: tokens by scope; a token counts once in each of its contexts.
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
    settings: RunSettings,
    device: str,
    threads: int,
) -> ReferenceMeans:
    """Take each block's mean contribution over contexts of the study's first questions.

    Args:
        contexts: of one context set, each question's together; those of later questions are not used.
        model_folder: safetensors, config and tokenizer.
        n_questions: how many of the study's first questions; those of which no context fits count too.
        documents: numbers of documents of the contexts.
        settings: precision, window, and what to do with a context that is longer.
        device: where to run.
        threads: CPU threads.

    Raises:
        ContextError: a context cannot be tokenised or does not fit, or there is none.
        ArchitectureError: a part of the model was not found.
        SelfCheckError: the model is not causal.
        NotFiniteError: a state, or a block's contribution, has NaN or infinity.
    """
    use_threads(threads)
    loaded = load_model(model_folder, settings.dtype, resolve_device(device))
    tokenizer = ContextTokenizer(load_tokenizer(model_folder), settings.chat, loaded.n_embeddings)
    first = [context for context in contexts if context.question_place < n_questions]
    fitted = fit_contexts(first, tokenizer, settings.overflow, window_of(loaded.n_positions, settings.window))
    by_question = group_by_question(context for context in fitted if context.context.can_be_ablated(documents))
    if not by_question:
        raise ContextError(
            f"no context with {list(documents)} documents fits the model: there is nothing to take blocks' means over; "
            "take mean out of ablation.replacements, or see overflow in docs/configuration.md"
        )
    _, first_tokens = by_question[0][0]
    refuse_not_causal(loaded, first_tokens.ids, f"context {first_tokens.name}")
    loaded = pack_linears(loaded, settings.matmul)
    tokens = [
        AblatedContext.of(pair, [] if pair[1].segments is None else PARTS) for pairs in by_question for pair in pairs
    ]
    return ReferenceMeans(
        mean_contributions(loaded, tokens),
        [pairs[0][0].question_id for pairs in by_question],
        len(tokens),
        _n_tokens(tokens),
    )


@torch.inference_mode()
def mean_contributions(loaded: LoadedModel, contexts: Sequence[TokenisedContext]) -> Means:
    """Return each block's mean contribution, its output less its input, over the tokens of each scope in all contexts.

    The model's own code runs context by context: this takes little time compared with the passes of an ablation.

    Raises:
        ContextError: there is no memory for one of the contexts.
        NotFiniteError: a contribution has NaN or infinity.
    """
    n_tokens = _n_tokens(contexts)
    sums = torch.zeros(len(n_tokens), loaded.n_layers, loaded.width, dtype=torch.float64, device=loaded.device)

    def run_block(rows: list[Tensor], index: int, forward: Any, *args: Any, **kwargs: Any) -> Any:
        block_input = input_state(args, kwargs)[0].double()
        output = forward(*args, **kwargs)
        contribution = output_state(output)[0].double() - block_input
        for scope, of_scope in enumerate(rows):
            sums[scope, index] += contribution[of_scope].sum(0)
        return output

    for context in contexts:
        ids = torch.tensor([context.ids], device=loaded.device)
        rows = [torch.tensor(_places(context, scope), dtype=torch.long, device=loaded.device) for scope in n_tokens]
        try:
            with patched_blocks(loaded.architecture.blocks, partial(run_block, rows)):
                loaded.run_blocks(input_ids=ids)
        except torch.OutOfMemoryError:
            raise out_of_memory(len(context.ids)) from None
        if (at := first_not_finite(sums)) is not None:
            place = f"in what block {at[1] + 1} adds to the residual stream, in context {context.name}"
            raise not_finite(loaded.name, loaded.dtype, place)
    return {scope: (total / n).float() for total, (scope, n) in zip(sums, n_tokens.items(), strict=True)}


def _n_tokens(contexts: Sequence[TokenisedContext]) -> dict[Scope, int]:
    """Return the number of tokens of each scope, of those that all contexts know and that have any."""
    known = [scope for scope in known_scopes(contexts[0]) if all(scope in known_scopes(one) for one in contexts)]
    counted = {scope: sum(len(_places(context, scope)) for context in contexts) for scope in known}
    return {scope: n for scope, n in counted.items() if n > 0}


def _places(context: TokenisedContext, scope: Scope) -> Sequence[int]:
    # Nothing is predicted from the last token.
    return range(len(context.predicting_ids)) if scope == "all" else places_of(context, scope)


def write_means(reference: ReferenceMeans, path: Path) -> None:
    """Write means as safetensors, whole or not at all; the contexts that they are means over go into the metadata."""
    metadata = {
        "questions": json.dumps(reference.questions),
        "contexts": str(reference.n_contexts),
        "tokens": json.dumps(reference.n_tokens, sort_keys=True),
    }
    with written_whole(path) as beside:
        save_file({scope: mean.cpu().contiguous() for scope, mean in reference.means.items()}, beside, metadata)
