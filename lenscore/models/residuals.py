"""Residual states of every layer, at the asked positions only."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lenscore.jobs.spent import spent_on
from lenscore.models.blocks import input_state, output_state
from lenscore.models.loading import LoadedModel
from lenscore.sources.pretrained import told_in_one_line


@torch.inference_mode()
def residual_states(
    loaded: LoadedModel, inputs: Mapping[str, Tensor], positions: Int[Tensor, " positions"]
) -> Float[Tensor, "layers positions width"]:
    """Run the blocks over one sequence and return the residual states at ``positions``, layers 0 to L.

    Layer 0 is the input of the first block (the embeddings, with everything that the model adds to them or does
    with them), layer l the output of block l, before the final norm. The states of other positions are
    dropped as soon as the next block has read them, and the head is not run.

    Args:
        loaded: the model.
        inputs: the backbone's arguments: ``input_ids`` of shape (1, sequence), and others if need be.
        positions: places in the sequence.

    Raises:
        SourceError: the model's own code fails.
    """
    with _own_code(loaded), captured_states(loaded.architecture.blocks, positions) as states:
        loaded.run_blocks(**inputs)
    return torch.stack(states)


@torch.inference_mode()
def states_and_logits(
    loaded: LoadedModel, input_ids: Int[Tensor, "1 sequence"], positions: Int[Tensor, " positions"]
) -> tuple[Float[Tensor, "layers positions width"], Float[Tensor, "positions vocabulary"]]:
    """Return states as :func:`residual_states` does, and the model's own float32 logits, of one forward pass."""
    with (
        _own_code(loaded),
        captured_states(loaded.architecture.blocks, positions) as states,
        spent_on("model", loaded.device),
    ):
        logits: Tensor = loaded.model(input_ids=input_ids, use_cache=False, logits_to_keep=positions).logits
    return torch.stack(states), logits[0].float()


def _own_code(loaded: LoadedModel) -> AbstractContextManager[None]:
    """Say in one line what the model's own code raises: some faults of a config show only when it runs."""
    return told_in_one_line(loaded.name, "it", "run")


@contextmanager
def captured_states(
    blocks: Sequence[nn.Module], positions: Int[Tensor, " positions"] | Sequence[int]
) -> Iterator[list[Float[Tensor, "positions width"]]]:
    """Yield a list that receives the states of layers 0 to L while the model runs once inside the ``with``."""
    states: list[Tensor] = []

    def capture_input(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states.append(input_state(args, kwargs)[0, positions])

    def capture_output(_: nn.Module, __: Any, output: Any) -> None:
        states.append(output_state(output)[0, positions])

    handles = [blocks[0].register_forward_pre_hook(capture_input, with_kwargs=True)]
    handles += [block.register_forward_hook(capture_output) for block in blocks]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()
