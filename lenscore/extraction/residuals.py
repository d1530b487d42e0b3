"""Residual states of every layer, at the asked positions alone."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from lenscore.lenses.architecture import Architecture


@torch.inference_mode()
def answer_states(
    architecture: Architecture, inputs: Mapping[str, Tensor], positions: Int[Tensor, " positions"]
) -> Float[Tensor, "layers positions width"]:
    """Run the blocks over one sequence and return the residual states at ``positions``, layers 0 to L.

    Layer 0 is what enters the first block (embeddings with all that the model adds to or does
    with them), layer l what leaves block l, before the final norm. The states of other positions are
    dropped as soon as the next block has read them, and the head is not run.

    Args:
        architecture: the model's parts.
        inputs: the backbone's arguments: ``input_ids`` of shape (1, sequence), and others if need be.
        positions: places in the sequence.
    """
    kept: list[Tensor] = []

    def keep(hidden: Tensor) -> None:
        kept.append(hidden[0, positions].clone())

    handles = [architecture.blocks[0].register_forward_pre_hook(_on_input(keep), with_kwargs=True)]
    handles += [block.register_forward_hook(_on_output(keep)) for block in architecture.blocks]
    try:
        architecture.backbone(**inputs, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack(kept)


def _on_input(keep: Callable[[Tensor], None]) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        keep(args[0] if args else kwargs["hidden_states"])

    return hook


def _on_output(keep: Callable[[Tensor], None]) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_: nn.Module, __: Any, output: Any) -> None:
        # Blocks of some families return the state alone, of others a tuple that it opens.
        keep(output[0] if isinstance(output, tuple) else output)

    return hook


@torch.inference_mode()
def own_logits(
    model: PreTrainedModel, input_ids: Int[Tensor, "1 sequence"], positions: Int[Tensor, " positions"]
) -> Float[Tensor, "positions vocabulary"]:
    """Return the model's own float32 logits at ``positions``, by its own forward pass."""
    logits: Tensor = model(input_ids=input_ids, use_cache=False, logits_to_keep=positions).logits
    return logits[0].float()
