"""Residual states of every layer, at the asked positions alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from lenscore.jobs.spent import spent_on
from lenscore.models.architecture import Architecture
from lenscore.models.blocks import state_entering, state_leaving


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
    with kept_states(architecture, positions) as kept, spent_on("model"):
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
    with kept_states(architecture, positions) as kept, spent_on("model"):
        logits: Tensor = model(input_ids=input_ids, use_cache=False, logits_to_keep=positions).logits
    return torch.stack(kept), logits[0].float()


@contextmanager
def kept_states(
    architecture: Architecture, positions: Int[Tensor, " positions"] | Sequence[int]
) -> Iterator[list[Float[Tensor, "positions width"]]]:
    """Keep the states of every layer at ``positions`` while the model runs once inside the ``with``."""
    kept: list[Tensor] = []

    def keep(state: Tensor) -> None:
        kept.append(state[0, positions])

    with states_seen_by(architecture, keep):
        yield kept


@contextmanager
def states_seen_by(architecture: Architecture, see: Callable[[Tensor], None]) -> Iterator[None]:
    """Call ``see`` with the states of each layer, 0 to L, while the model runs inside the ``with``.

    Args:
        architecture: the model's parts.
        see: takes states of shape (1, sequence, width).
    """

    def on_input(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        see(state_entering(args, kwargs))

    def on_output(_: nn.Module, __: Any, output: Any) -> None:
        see(state_leaving(output))

    handles = [architecture.blocks[0].register_forward_pre_hook(on_input, with_kwargs=True)]
    handles += [block.register_forward_hook(on_output) for block in architecture.blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
