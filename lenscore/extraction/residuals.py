"""Residual states of every layer, at the asked positions alone."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
    with _kept_states(architecture, positions) as kept:
        architecture.backbone(**inputs, use_cache=False)
    return torch.stack(kept)


@torch.inference_mode()
def own_states_and_logits(
    model: PreTrainedModel,
    architecture: Architecture,
    input_ids: Int[Tensor, "1 sequence"],
    positions: Int[Tensor, " positions"],
) -> tuple[Float[Tensor, "layers positions width"], Float[Tensor, "positions vocabulary"]]:
    """Return states as :func:`answer_states` does, and the model's own float32 logits, of one forward pass."""
    with _kept_states(architecture, positions) as kept:
        logits: Tensor = model(input_ids=input_ids, use_cache=False, logits_to_keep=positions).logits
    return torch.stack(kept), logits[0].float()


@contextmanager
def _kept_states(architecture: Architecture, positions: Int[Tensor, " positions"]) -> Iterator[list[Tensor]]:
    """Keep the states of every layer at ``positions`` while the model runs inside the ``with``."""
    kept: list[Tensor] = []

    def keep(hidden: Tensor) -> None:
        kept.append(hidden[0, positions])

    handles = [architecture.blocks[0].register_forward_pre_hook(_on_input(keep), with_kwargs=True)]
    handles += [block.register_forward_hook(_on_output(keep)) for block in architecture.blocks]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _on_input(keep: Callable[[Tensor], None]) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        keep(args[0] if args else kwargs["hidden_states"])

    return hook


def _on_output(keep: Callable[[Tensor], None]) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_: nn.Module, __: Any, output: Any) -> None:
        # Blocks of some families return the state alone, of others a tuple that it opens.
        keep(output[0] if isinstance(output, tuple) else output)

    return hook
