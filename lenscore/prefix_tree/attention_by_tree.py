"""Attention over a tree, all tokens of a chunk at once, by FlexAttention (Dong et al. 2024, arXiv 2412.05496).

Keys and values are stored by place, so those of every branch are there, and a block mask says who sees whom
(``lenscore.prefix_tree.block_mask``).
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
import torch._dynamo
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.functional import pad

from lenscore.prefix_tree.attention import Chunk, Keys, Queries, ScoreParameters, Values
from lenscore.prefix_tree.block_mask import padded_length, tree_block_mask
from lenscore.prefix_tree.tree import ContextTree

# Heads that are narrower are filled up with zeros: Triton's products need so many columns. Any other width will do.
_SMALLEST_WIDTH = 16

# The numbers of queries and keys are variables of a kernel. Each shape of heads, scale, soft cap and precision needs a
# kernel of its own: one or two for most models, but PyTorch's limit, 8, is too low for several models in a process.
# Without the second setting, a second scale or soft cap would become a variable too.
_COMPILER_SETTINGS = {"recompile_limit": 64, "specialize_float": True}


class AttentionByTree:
    """Attention over a tree, chunk by chunk (:class:`lenscore.prefix_tree.attention.TreeAttention`)."""

    def __init__(self, tree: ContextTree, chunks: Sequence[Chunk], device: torch.device):
        self._chunks = chunks
        self._masks = _TreeMasks(tree, chunks, device)
        self._cache: _CacheByPlace | None = None  # one for all blocks whose heads are alike
        self._asked_rows = [
            torch.tensor([place - chunk.places.start for place in chunk.asked], dtype=torch.long, device=device)
            for chunk in chunks
        ]

    def attend(
        self, chunk: int, query: Queries, key: Keys, value: Values, scores: ScoreParameters, asked_only: bool
    ) -> Float[Tensor, "attending heads value_width"]:
        """Store keys and values of a chunk and attend; see :class:`lenscore.prefix_tree.attention.TreeAttention`."""
        if self._cache is None or not self._cache.fits(key, value):
            self._cache = _CacheByPlace(key, value, self._masks.n_keys)
        self._cache.write(self._chunks[chunk].places.start, key, value)
        if asked_only:
            query = query[:, self._asked_rows[chunk]]
        n_attending = query.shape[1]
        if n_attending == 0:
            return query.new_empty((0, query.shape[0], value.shape[2]))
        mask = self._masks.of(chunk, scores.window, asked_only)
        output = _flex_attention(query, self._cache.keys, self._cache.values, scores, mask)
        return output[:, :n_attending, : value.shape[2]].transpose(0, 1)


class _CacheByPlace:
    """Keys and values of all tokens of a tree, in the model's precision.

    Attributes:
        keys: (groups, places, width), in whole blocks of places.
        values: the same.
    """

    def __init__(self, key: Keys, value: Values, n_places: int):
        self._shapes = _shape_of_heads(key), _shape_of_heads(value)
        # Zeros, since a masked key's weight, 0, is multiplied with its value: what lies in memory may not be finite.
        self.keys, self.values = (
            part.new_zeros((part.shape[0], n_places, max(part.shape[2], _SMALLEST_WIDTH))) for part in (key, value)
        )

    def fits(self, key: Keys, value: Values) -> bool:
        """Say whether keys and values have as many groups and the same widths as those of the cache."""
        return self._shapes == (_shape_of_heads(key), _shape_of_heads(value))

    def write(self, start: int, key: Keys, value: Values) -> None:
        """Store the keys and values of tokens that follow one another, the first of them at place ``start``."""
        for part, cached in ((key, self.keys), (value, self.values)):
            cached[:, start : start + part.shape[1], : part.shape[2]] = part


class _TreeMasks:
    """The masks of a tree's chunks. Each is made when it is first asked for, and serves all blocks and passes.

    Attributes:
        n_keys: how many places they have room for.
    """

    def __init__(self, tree: ContextTree, chunks: Sequence[Chunk], device: torch.device):
        self.n_keys = padded_length(len(tree.ids))
        self._tree = tree
        self._chunks = chunks
        self._device = device
        self._ends = pad(self._tensor(tree.ends), (0, self.n_keys - len(tree.ids)))
        self._starts: dict[int | None, Tensor] = {None: torch.zeros_like(self._ends)}
        self._masks: dict[tuple[int, int | None, bool], BlockMask] = {}

    def of(self, chunk: int, window: int | None, asked_only: bool) -> BlockMask:
        """Return the mask of a chunk's tokens, or of its asked tokens alone."""
        if (chunk, window, asked_only) not in self._masks:
            self._masks[chunk, window, asked_only] = self._made(self._chunks[chunk], window, asked_only)
        return self._masks[chunk, window, asked_only]

    def _made(self, chunk: Chunk, window: int | None, asked_only: bool) -> BlockMask:
        if window not in self._starts:
            assert window is not None
            self._starts[window] = self._tensor(self._tree.window_starts(window))
        attending = chunk.asked if asked_only else chunk.places
        # The last query again and again, so that the rows that fill the last block see nothing that it does not see.
        filled = [*attending, *[attending[-1]] * (padded_length(len(attending)) - len(attending))]
        places = self._tensor(filled)
        return tree_block_mask(places, self._starts[window][places], self._ends)

    def _tensor(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.int32, device=self._device)


def _flex_attention(
    query: Queries,
    keys: Float[Tensor, "groups keys filled_width"],
    values: Float[Tensor, "groups keys filled_value_width"],
    scores: ScoreParameters,
    mask: BlockMask,
) -> Float[Tensor, "heads rows filled_value_width"]:
    """Return attention's output for the queries, and for the rows that fill their last block."""
    filled = pad(query, (0, keys.shape[2] - query.shape[2], 0, mask.shape[-2] - query.shape[1]))
    with torch._dynamo.config.patch(_COMPILER_SETTINGS):
        output: Tensor = _compiled(query.device.type)(
            filled[None],
            keys[None],
            values[None],
            score_mod=None if scores.soft_cap is None else _capped(scores.soft_cap),
            block_mask=mask,
            scale=scores.scale,
            enable_gqa=True,
        )
    return output[0]


@cache
def _compiled(device_type: str) -> Callable[..., Any]:
    """Return ``flex_attention`` for a kind of device: a fused kernel on a GPU, PyTorch's plain operations on a CPU.

    Products of float32 are as exact as PyTorch's setting for matrix products says, exact by default. When the setting
    changes, a kernel is compiled again.
    """
    # fullgraph: what cannot be compiled is an error, since a plain run needs memory for tokens² scores a head.
    backend = "eager" if device_type == "cpu" else "inductor"
    return torch.compile(flex_attention, backend=backend, fullgraph=True, dynamic=True)


def _capped(soft_cap: float) -> Callable[..., Tensor]:
    # Compiled into the kernel, where no check of types can run: so a lambda.
    return lambda score, batch, head, query, key: soft_cap * torch.tanh(score / soft_cap)


def _shape_of_heads(part: Keys | Values) -> tuple[int, int]:
    return part.shape[0], part.shape[2]
