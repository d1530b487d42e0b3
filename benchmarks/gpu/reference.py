"""What any family's own code says: hooks on its blocks, one context at a time, nothing shared, packed or fused.

The last layer's logits are the model's own. Those of the layers before it need the model's unembedding, which is the
project's; that it is right on a CPU, ``tests/test_lens_families.py`` shows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from benchmarks.gpu.rows import Rows
from lenscore.extraction.tokens import TokenisedContext
from lenscore.lenses.tuned import Translators
from lenscore.models.architecture import find_architecture
from lenscore.models.unembedding import Unembedding


@torch.inference_mode()
def lens_rows(
    model: PreTrainedModel, contexts: Sequence[TokenisedContext], translators: Translators | None = None
) -> Rows:
    """Return what the logit lens says of every context, or with translators the tuned lens."""
    architecture = find_architecture(model)
    unembedding = Unembedding.of(architecture)
    rows = []
    for context in contexts:
        positions = list(context.predicting_positions)
        with _recorded(architecture.blocks, positions) as states:
            own = model(input_ids=torch.tensor([context.ids]), use_cache=False).logits[0, positions].float()
        before = torch.stack(states[:-1])
        if translators is not None:
            exact = before.float()
            before = (exact + exact @ translators.weights + translators.biases[:, None]).to(before.dtype)
        rows.append(Rows.of_logits(torch.cat([unembedding(before), own[None]]), context.answer_ids))
    return Rows.joined(rows)


@torch.inference_mode()
def ablated_rows(
    model: PreTrainedModel, contexts: Sequence[TokenisedContext], everywhere: bool, means: Float[Tensor, "blocks width"]
) -> Rows:
    """Return what the model says with each block skipped or replaced by its mean, and with nothing ablated.

    Args:
        model: the model.
        contexts: each is run by itself, once a variant.
        everywhere: replace contributions at every token; else at those that predict the answer.
        means: each block's mean contribution.

    Returns:
        A variant in the place of a layer: block by block skipped, then replaced; the intact model last.
    """
    blocks = find_architecture(model).blocks
    rows = []
    for context in contexts:
        ids, positions = torch.tensor([context.ids]), list(context.predicting_positions)
        where = list(range(len(context.ids))) if everywhere else positions
        variants = []
        for block, mean in zip(blocks, means, strict=True):
            for contribution in (torch.zeros_like(mean), mean):
                with _replaced(block, where, contribution):
                    variants.append(model(input_ids=ids, use_cache=False).logits[0, positions])
        variants.append(model(input_ids=ids, use_cache=False).logits[0, positions])
        rows.append(Rows.of_logits(torch.stack(variants), context.answer_ids))
    return Rows.joined(rows)


def _state(output: Any) -> Tensor:
    state: Tensor = output[0] if isinstance(output, tuple) else output
    return state


def _entering(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    state: Tensor = args[0] if args else kwargs["hidden_states"]
    return state


@contextmanager
def _recorded(blocks: Sequence[nn.Module], positions: list[int]) -> Iterator[list[Tensor]]:
    """Yield a list that receives what enters the first block and what leaves each, at some positions."""
    states: list[Tensor] = []

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states.append(_entering(args, kwargs)[0, positions])

    handles = [blocks[0].register_forward_pre_hook(before, with_kwargs=True)]
    for block in blocks:
        handles.append(block.register_forward_hook(lambda _, __, out: states.append(_state(out)[0, positions])))
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _replaced(block: nn.Module, rows: list[int], contribution: Tensor) -> Iterator[None]:
    """Replace what a block adds to the residual stream at some rows."""

    def replace(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        state = _state(output).clone()
        state[0, rows] = _entering(args, kwargs)[0, rows] + contribution.to(state)
        return (state, *output[1:]) if isinstance(output, tuple) else state

    handle = block.register_forward_hook(replace, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
