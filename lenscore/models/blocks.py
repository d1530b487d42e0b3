"""Blocks as functions of the residual state, whatever else a family passes along, and how to patch them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

# What runs instead of a block's forward. Takes the block's index from 0, its own forward, and forward's arguments.
BlockPatch = Callable[..., Any]


def input_state(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return the residual state among a block's arguments, (1, tokens, width)."""
    state: Tensor = args[0] if args else kwargs["hidden_states"]
    return state


def with_input_state(
    args: tuple[Any, ...], kwargs: dict[str, Any], state: Tensor
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a block's arguments with another residual state."""
    return ((state, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": state})


def output_state(output: Any) -> Tensor:
    """Return the residual state in a block's output: the output itself, or the first part of a tuple."""
    state: Tensor = output[0] if isinstance(output, tuple) else output
    return state


def with_output_state(output: Any, state: Tensor) -> Any:
    """Return a block's output with another residual state."""
    return (state, *output[1:]) if isinstance(output, tuple) else state


@contextmanager
def patched_blocks(blocks: Sequence[nn.Module], patch: BlockPatch) -> Iterator[None]:
    """Call ``patch(index, forward, *args, **kwargs)`` instead of each block's forward inside the ``with``.

    Patches can be nested: the ``forward`` of the inner one is then the patch of the outer one.
    """
    before = [vars(block).get("forward") for block in blocks]
    for index, block in enumerate(blocks):
        block.forward = partial(patch, index, block.forward)
    try:
        yield
    finally:
        for block, forward in zip(blocks, before, strict=True):
            if forward is None:
                del block.forward
            else:
                block.forward = forward
