"""A model's blocks as functions from residual state to residual state, whatever else they take and give."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

# What runs in place of a block: its index from 0, its forward, and forward's arguments.
InPlaceOfForward = Callable[..., Any]


def state_entering(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return the residual state among a block's arguments, (1, tokens, width)."""
    state: Tensor = args[0] if args else kwargs["hidden_states"]
    return state


def with_state(args: tuple[Any, ...], kwargs: dict[str, Any], state: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a block's arguments with another residual state."""
    return ((state, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": state})


def state_leaving(output: Any) -> Tensor:
    """Return the residual state in a block's output: some families return it alone, others a tuple that it opens."""
    state: Tensor = output[0] if isinstance(output, tuple) else output
    return state


def in_place_of(output: Any, state: Tensor) -> Any:
    """Return a block's output with another residual state."""
    return (state, *output[1:]) if isinstance(output, tuple) else state


@contextmanager
def blocks_run_by(blocks: Sequence[nn.Module], run: InPlaceOfForward) -> Iterator[None]:
    """Call ``run(index, forward, *args, **kwargs)`` in place of each block's forward inside the ``with``.

    One may stand inside another: the inner one's ``forward`` is then what the outer one has put there.
    """
    before = [vars(block).get("forward") for block in blocks]
    for index, block in enumerate(blocks):
        block.forward = partial(run, index, block.forward)
    try:
        yield
    finally:
        for block, forward in zip(blocks, before, strict=True):
            if forward is None:
                del block.forward
            else:
                block.forward = forward
