"""Forward passes in which blocks' contributions to the residual stream are replaced.

A block's contribution is its output less its input. To skip a block is to replace its contribution by zero, as
layer drop does to layers at random (Fan et al. 2019, arXiv 1909.11556); replaced by its mean over a reference set
(mean ablation: Wang et al. 2022, arXiv 2211.00593) the stream keeps what the block adds to every token.

What blocks do is changed from outside, by what runs in place of their forward
(:func:`lenscore.models.blocks.blocks_run_by`), so that it makes no difference whether a walk along a tree or the
model's own code stands behind it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lenscore.models.architecture import Architecture
from lenscore.models.blocks import blocks_run_by, in_place_of, state_entering, state_leaving, with_state

# For each block what its contribution is replaced by: one or more vectors of the stream's width. None stands for 0.
Contributions = Sequence[Sequence[Float[Tensor, " width"] | None]]


@torch.inference_mode()
def detours(
    architecture: Architecture,
    run: Callable[[], None],
    places: Sequence[int],
    rows: slice | Sequence[int],
    contributions: Contributions,
) -> Float[Tensor, "variants places width"]:
    """Return the states of layer L after each replacement of each block, one pass a replacement.

    A pass begins at its block: what leaves the blocks before it is known from the pass before, which has also run
    this block as it is. L blocks and one replacement take (L + 1) / 2 passes' work, the intact one included.

    Args:
        architecture: the model's parts.
        run: runs the model's blocks over a sequence, the same one each time.
        places: where in the sequence states are asked for.
        rows: where blocks' contributions are replaced.
        contributions: what they are replaced by.

    Returns:
        A variant a block and replacement, block by block; after them the intact one.
    """
    detour = _Detour(len(architecture.blocks), rows)
    found = []
    with blocks_run_by(architecture.blocks, detour.run_block):
        for index, of_block in enumerate(contributions):
            detour.go_to(index)
            for contribution in of_block:
                detour.contribution = contribution
                run()
                found.append(detour.final()[0, places])
    return torch.stack([*found, detour.intact()[0, places]])


class _Detour:
    """Passes over one sequence: blocks before ``_at`` are passed by, its contribution is replaced."""

    def __init__(self, n_blocks: int, rows: slice | Sequence[int]):
        self.contribution: Tensor | None = None
        self._n_blocks = n_blocks
        self._rows = rows
        self._at = 0
        self._n_beside: list[int | None] = []  # what blocks give beside the state; None where no tuple
        self._entering: Tensor | None = None  # the block `_at`, as in the intact pass
        self._leaving: Tensor | None = None
        self._final: Tensor | None = None

    def go_to(self, index: int) -> None:
        """Take the block whose contribution is replaced from now on: the first, then one after the other."""
        if index > 0:
            self._entering = self._leaving
        self._at, self._leaving = index, None

    def final(self) -> Tensor:
        """Return the states of layer L in the last pass."""
        assert self._final is not None
        return self._final

    def intact(self) -> Tensor:
        """Return the states of layer L with nothing replaced, after a pass in which the last block was."""
        assert self._at == self._n_blocks - 1
        assert self._leaving is not None
        return self._leaving

    def run_block(self, index: int, forward: Any, *args: Any, **kwargs: Any) -> Any:
        """Do what the block's ``forward`` does, unless it is passed by or replaced."""
        if index < self._at:
            # What stands beside the state (weights of attention that nobody has asked for) is not made.
            n_beside = self._n_beside[index]
            state = state_entering(args, kwargs)
            return state if n_beside is None else (state, *[None] * n_beside)
        output = forward(*args, **kwargs) if index > self._at else self._replaced(forward, args, kwargs)
        if index == self._n_blocks - 1:
            self._final = state_leaving(output)
        return output

    def _replaced(self, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._entering is None:
            self._entering = state_entering(args, kwargs)
        if self._leaving is None:
            args, kwargs = with_state(args, kwargs, self._entering)
            output = forward(*args, **kwargs)
            self._n_beside.append(len(output) - 1 if isinstance(output, tuple) else None)
            self._leaving = state_leaving(output)
        replaced = self._leaving.clone()
        replaced[:, self._rows] = _with_contribution(self._entering[:, self._rows], self.contribution)
        n_beside = self._n_beside[self._at]
        return replaced if n_beside is None else (replaced, *[None] * n_beside)


@torch.inference_mode()
def branches(
    architecture: Architecture,
    run: Callable[[], None],
    places: Sequence[int],
    rows: Sequence[Sequence[Sequence[int]]],
    contributions: Contributions,
) -> Float[Tensor, "places width"]:
    """Return the states of layer L after one pass in which each block is replaced at rows of its own.

    Args:
        architecture: the model's parts.
        run: runs the model's blocks over a sequence.
        places: where in the sequence states are asked for.
        rows: for each block and replacement, where.
        contributions: what is put there.
    """
    final: list[Tensor] = []

    def run_block(index: int, forward: Any, *args: Any, **kwargs: Any) -> Any:
        entering = state_entering(args, kwargs)
        output = forward(*args, **kwargs)
        state = state_leaving(output).clone()
        for some, contribution in zip(rows[index], contributions[index], strict=True):
            state[:, some] = _with_contribution(entering[:, some], contribution)
        if index == len(architecture.blocks) - 1:
            final.append(state[0, places])
        return in_place_of(output, state)

    with blocks_run_by(architecture.blocks, run_block):
        run()
    return final[0]


def _with_contribution(state: Tensor, contribution: Tensor | None) -> Tensor:
    return state if contribution is None else state + contribution
