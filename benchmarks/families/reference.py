"""What a model's own code makes of the state of each layer, and without each of its blocks, by plain hooks alone.

No norm, head, scale or cap is assumed: the last block's output is replaced, and the model's own tail does the rest.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

# Takes a block's input state, its output state and returns the output state that takes its place, (1, tokens, width).
Replace = Callable[[Tensor, Tensor], Tensor]


@torch.inference_mode()
def logits_of_layers(model: PreTrainedModel, blocks: Sequence[nn.Module], ids: Sequence[int]) -> Tensor:
    """Return (layers, tokens, vocabulary): the model's tail at the states of layers 0 to L of one context."""
    states: list[Tensor] = []

    def keep(block_input: Tensor, output: Tensor) -> Tensor:
        states.extend([block_input, output] if not states else [output])
        return output

    with _replaced(blocks, keep):
        _logits(model, ids)
    found = []
    for state in states:
        with _replaced(blocks[-1:], partial(_instead, state)):
            found.append(_logits(model, ids))
    return torch.stack(found)


@torch.inference_mode()
def logits_without(model: PreTrainedModel, block: nn.Module, ids: Sequence[int], rows: slice) -> Tensor:
    """Return (tokens, vocabulary): the model's logits with a block skipped at some tokens."""

    def skip(block_input: Tensor, output: Tensor) -> Tensor:
        replaced = output.clone()
        replaced[:, rows] = block_input[:, rows].to(output.dtype)
        return replaced

    with _replaced([block], skip):
        return _logits(model, ids)


def _instead(state: Tensor, _: Tensor, output: Tensor) -> Tensor:
    return state.to(output.dtype)


def _logits(model: PreTrainedModel, ids: Sequence[int]) -> Tensor:
    logits: Tensor = model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits
    return logits[0].float()


@contextmanager
def _replaced(blocks: Sequence[nn.Module], replace: Replace) -> Iterator[None]:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        block_input = args[0] if args else kwargs["hidden_states"]
        if isinstance(output, tuple):
            return (replace(block_input, output[0]), *output[1:])
        return replace(block_input, output)

    handles = [block.register_forward_hook(hook, with_kwargs=True) for block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
