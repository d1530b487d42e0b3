"""Forward passes in which blocks' contributions to the residual stream are replaced.

A block's contribution is its output less its input. To skip a block is to replace its contribution by zero, as
layer drop does to layers at random (Fan et al. 2019, arXiv 1909.11556). Mean ablation (Wang et al. 2022, arXiv
2211.00593) replaces it by its mean over a reference set, so that the stream keeps what the block adds to every token.
Resampling ablation (Chan et al. 2022, "Causal scrubbing") replaces it by the block's contribution in another context.

Blocks are patched from outside (:func:`lenscore.models.blocks.patched_blocks`), so it makes no difference whether
the model runs over a tree or over one context by its own code.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lenscore.models.blocks import input_state, output_state, patched_blocks, with_input_state, with_output_state

# For each block, what replaces its contribution, one or more: a vector of the stream's width, the same at every row, or
# a vector a row. None means zero.
Contributions = Sequence[Sequence[Float[Tensor, "... width"] | None]]


@torch.inference_mode()
def ablate_in_turn(
    blocks: Sequence[nn.Module],
    run: Callable[[], None],
    places: Int[Tensor, " places"],
    rows: slice | Int[Tensor, " rows"],
    contributions: Contributions,
) -> Float[Tensor, "variants places width"]:
    """Return the states of layer L after each replacement of each block, one pass a replacement.

    A pass starts at its block: the output of the blocks before it is known from the previous pass, which has also
    run this block unchanged. L blocks and one replacement take (L + 1) / 2 passes' work, the intact pass included.

    Args:
        blocks: the model's blocks.
        run: runs the blocks over a sequence, the same one each time.
        places: where in the sequence states are asked for.
        rows: where blocks' contributions are replaced.
        contributions: what they are replaced by.

    Returns:
        One variant for each block and replacement, block by block; the intact variant last.
    """
    patch = _BlockReplacement(len(blocks), rows)
    variants = []
    with patched_blocks(blocks, patch.run_block):
        for index, of_block in enumerate(contributions):
            patch.start_block(index)
            for contribution in of_block:
                patch.contribution = contribution
                run()
                variants.append(patch.final()[0, places])
    return torch.stack([*variants, patch.intact()[0, places]])


class _BlockReplacement:
    """A patch for passes over one sequence: it skips the blocks before one, and replaces that one's contribution.

    Attributes:
        contribution: what replaces the block's contribution in the next pass.
    """

    def __init__(self, n_blocks: int, rows: slice | Int[Tensor, " rows"]):
        self.contribution: Tensor | None = None
        self._n_blocks = n_blocks
        self._rows = rows
        self._replaced = 0  # the block whose contribution is replaced
        self._n_extra: list[int | None] = []  # how much each block returns besides the state; None: no tuple
        self._input: Tensor | None = None  # of the replaced block, as in the intact pass
        self._output: Tensor | None = None  # the same
        self._final: Tensor | None = None

    def start_block(self, index: int) -> None:
        """Replace the contribution of this block from now on: of the first at the start, then of each next one."""
        if index > 0:
            self._input = self._output
        self._replaced, self._output = index, None

    def final(self) -> Tensor:
        """Return the states of layer L in the last pass."""
        assert self._final is not None
        return self._final

    def intact(self) -> Tensor:
        """Return the states of layer L with nothing replaced, after a pass that replaced the last block."""
        assert self._replaced == self._n_blocks - 1
        assert self._output is not None
        return self._output

    def run_block(self, index: int, forward: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the block's ``forward``, skip it, or replace its contribution."""
        if index < self._replaced:
            return self._as_output(index, input_state(args, kwargs))
        output = forward(*args, **kwargs) if index > self._replaced else self._replace(forward, args, kwargs)
        if index == self._n_blocks - 1:
            self._final = output_state(output)
        return output

    def _replace(self, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._input is None:
            self._input = input_state(args, kwargs)
        if self._output is None:
            args, kwargs = with_input_state(args, kwargs, self._input)
            output = forward(*args, **kwargs)
            self._n_extra.append(len(output) - 1 if isinstance(output, tuple) else None)
            self._output = output_state(output)
        state = self._output.clone()
        state[:, self._rows] = _with_contribution(self._input[:, self._rows], self.contribution)
        return self._as_output(self._replaced, state)

    def _as_output(self, index: int, state: Tensor) -> Any:
        # What a block returns besides the state (attention weights, which nobody has asked for) is left empty.
        n_extra = self._n_extra[index]
        return state if n_extra is None else (state, *[None] * n_extra)


@torch.inference_mode()
def ablate_in_one_pass(
    blocks: Sequence[nn.Module],
    run: Callable[[], None],
    places: Int[Tensor, " places"],
    rows: Sequence[Sequence[Int[Tensor, " _"]]],
    contributions: Contributions,
) -> Float[Tensor, "places width"]:
    """Return the states of layer L after one pass in which each block is replaced at other rows.

    Args:
        blocks: the model's blocks.
        run: runs the blocks over a sequence.
        places: where in the sequence states are asked for.
        rows: for each block and replacement, where.
        contributions: what the block's contribution is replaced by there.
    """
    final: list[Tensor] = []

    def run_block(index: int, forward: Any, *args: Any, **kwargs: Any) -> Any:
        block_input = input_state(args, kwargs)
        output = forward(*args, **kwargs)
        state = output_state(output).clone()
        for replaced, contribution in zip(rows[index], contributions[index], strict=True):
            state[:, replaced] = _with_contribution(block_input[:, replaced], contribution)
        if index == len(blocks) - 1:
            final.append(state[0, places])
        return with_output_state(output, state)

    with patched_blocks(blocks, run_block):
        run()
    return final[0]


def _with_contribution(state: Tensor, contribution: Tensor | None) -> Tensor:
    return state if contribution is None else state + contribution
