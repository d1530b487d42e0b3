"""One forward pass over a tree of contexts: every shared token is computed once, at every layer.

The model's blocks run as they are, on a chunk of some hundred tokens at a time, so that a block's intermediate
results stay in the processor's caches and memory does not grow with the tree. Attention is the only part of
a block that looks across tokens. It is replaced, through ``transformers``' AttentionInterface, by attention to a
key/value cache that is indexed by depth: since tokens come depth first, the cache holds at every token that
token's whole context (``lenscore.prefix_tree.tree``).

The last block projects all tokens to queries, keys and values, and does the rest for the asked tokens only.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lenscore.models.blocks import input_state, output_state, patched_blocks, with_output_state
from lenscore.models.loading import LoadedModel
from lenscore.models.residuals import captured_states
from lenscore.prefix_tree.attention_hook import (
    UnsupportedAttentionError,
    patched_attention,
    refuse_unsupported_config,
)
from lenscore.prefix_tree.key_value_cache import KeyValueCache, ScoreParameters
from lenscore.prefix_tree.tree import ContextTree


class _StopBlock(Exception):
    """Leaves a block once its keys and values are in the cache: the rest of it is not needed."""


@torch.inference_mode()
def tree_states(
    loaded: LoadedModel, tree: ContextTree, asked: Sequence[int], chunk: int
) -> Float[Tensor, "layers asked width"]:
    """Run the blocks over a tree and return the residual states at the ``asked`` places, layers 0 to L.

    Args:
        loaded: its attention must go through ``transformers``' AttentionInterface.
        tree: the contexts.
        asked: places in the tree, in any order, each one or more times.
        chunk: how many tokens go through a block at once.

    Raises:
        UnsupportedAttentionError: the model's attention does something that is not implemented here.
    """
    places = sorted(set(asked))
    blocks = loaded.architecture.blocks
    with patched_for_tree(loaded, tree, places, chunk) as run, captured_states(blocks, places) as states:
        run()
    row_of_place = {place: row for row, place in enumerate(places)}
    return torch.stack(states)[:, [row_of_place[place] for place in asked]]


@contextmanager
def patched_for_tree(
    loaded: LoadedModel, tree: ContextTree, places: Sequence[int], chunk: int
) -> Iterator[Callable[[], None]]:
    """Patch the model to read a tree inside the ``with``; yield a function that runs its blocks over the tree.

    The function may be called more than once. A block's output covers the whole tree, (1, tokens, width); that of
    the last block is right at ``places`` only.

    Args:
        loaded: its attention must go through ``transformers``' AttentionInterface.
        tree: the contexts.
        places: the asked places in the tree, rising.
        chunk: how many tokens go through a block at once.

    Raises:
        UnsupportedAttentionError: the model's attention does something that is not implemented here.
    """
    refuse_unsupported_config(loaded.model)
    blocks = loaded.architecture.blocks
    tree_pass = _TreePass(tree, places, chunk, len(blocks))
    inputs = {
        "input_ids": torch.tensor([tree.ids], device=loaded.device),
        "position_ids": torch.tensor([tree.depths], device=loaded.device),
    }
    with patched_attention(loaded.model, tree_pass.attend), patched_blocks(blocks, tree_pass.run_block):
        yield partial(loaded.run_blocks, **inputs)


@dataclass(frozen=True)
class _Span:
    """Tokens of a chunk of which each follows the one before it.

    Attributes:
        rows: their rows in the chunk.
        depths: their depths.
        asked: rows in the chunk of those that are asked for.
        asked_depths: the depths of these.
    """

    rows: slice
    depths: range
    asked: list[int]
    asked_depths: list[int]


@dataclass(frozen=True)
class _Chunk:
    """Tokens that go through a block together: their places in the tree, and the spans in which they follow."""

    places: slice
    spans: list[_Span]

    @property
    def n_tokens(self) -> int:
        return int(self.places.stop - self.places.start)


def _chunks(tree: ContextTree, places: Sequence[int], size: int) -> Iterator[_Chunk]:
    for start in range(0, len(tree.ids), size):
        end = min(start + size, len(tree.ids))
        spans = []
        for first, stop in tree.spans(start, end):
            asked = places[bisect_left(places, first) : bisect_left(places, stop)]
            spans.append(
                _Span(
                    slice(first - start, stop - start),
                    range(tree.depths[first], tree.depths[stop - 1] + 1),
                    [place - start for place in asked],
                    [tree.depths[place] for place in asked],
                )
            )
        yield _Chunk(slice(start, end), spans)


class _TreePass:
    """Forward passes over a tree, block by block."""

    def __init__(self, tree: ContextTree, places: Sequence[int], chunk: int, n_blocks: int):
        self._places = places
        self._chunks = list(_chunks(tree, places, chunk))
        self._n_blocks = n_blocks
        self._n_depths = max(tree.depths) + 1
        self._cache: KeyValueCache | None = None  # one for all blocks whose heads are alike
        self._attend: Any = None  # attention for the tokens that are in the block now
        self._n_attended = 0

    def run_block(self, index: int, forward: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what the block's ``forward`` would, computed chunk by chunk."""
        hidden = input_state(args, kwargs)
        kwargs.pop("hidden_states", None)
        call = partial(_call_on_rows, forward, hidden, args[1:], kwargs)
        if index == self._n_blocks - 1:
            output = self._run_last_block(call)
            whole = hidden.clone()
            whole[:, self._places] = output_state(output)
            return with_output_state(output, whole)
        whole = torch.empty_like(hidden)
        for chunk in self._chunks:
            self._n_attended = 0
            self._attend = partial(self._attend_from_all, chunk)
            output = call(chunk.places)
            if self._n_attended != 1:
                raise UnsupportedAttentionError("a block of it looks across tokens by other means than attention")
            whole[:, chunk.places] = output_state(output)
        return with_output_state(output, whole)

    def _run_last_block(self, call: Any) -> Any:
        """Attend from the asked tokens chunk by chunk, then run the block for them with what attention returned."""
        attended: list[Tensor] = []
        for chunk in self._chunks:
            self._attend = partial(self._attend_from_asked, chunk, attended)
            try:
                call(chunk.places)
            except _StopBlock:
                continue
            raise UnsupportedAttentionError("its last block has no attention of the usual kind")
        self._attend = lambda *_: torch.cat(attended)
        return call(self._places)

    def attend(
        self,
        query: Float[Tensor, "heads tokens width"],
        key: Float[Tensor, "groups tokens width"],
        value: Float[Tensor, "groups tokens value_width"],
        scores: ScoreParameters,
    ) -> Float[Tensor, "tokens heads value_width"]:
        """Return attention's output for the tokens that are in the block now."""
        self._n_attended += 1
        output: Tensor = self._attend(query, key, value, scores)
        return output

    def _attend_from_all(
        self, chunk: _Chunk, query: Tensor, key: Tensor, value: Tensor, scores: ScoreParameters
    ) -> Tensor:
        cache = self._cache_for(chunk, query, key, value)
        output = query.new_empty((query.shape[1], query.shape[0], value.shape[2]))
        for span in chunk.spans:
            cache.write(span.depths[0], key[:, span.rows], value[:, span.rows])
            cache.attend(query[:, span.rows], span.depths, scores, output[span.rows].transpose(0, 1))
        return output

    def _attend_from_asked(
        self, chunk: _Chunk, attended: list[Tensor], query: Tensor, key: Tensor, value: Tensor, scores: ScoreParameters
    ) -> None:
        cache = self._cache_for(chunk, query, key, value)
        for span in chunk.spans:
            cache.write(span.depths[0], key[:, span.rows], value[:, span.rows])
            if span.asked:
                attended.append(query.new_empty((len(span.asked), query.shape[0], value.shape[2])))
                cache.attend(query[:, span.asked], span.asked_depths, scores, attended[-1].transpose(0, 1))
        raise _StopBlock

    def _cache_for(self, chunk: _Chunk, query: Tensor, key: Tensor, value: Tensor) -> KeyValueCache:
        if not query.shape[1] == key.shape[1] == value.shape[1] == chunk.n_tokens:
            raise UnsupportedAttentionError("its attention reads other keys than those of the tokens in the block")
        if self._cache is None or not self._cache.fits(key, value):
            self._cache = KeyValueCache(key, value, self._n_depths)
        return self._cache


def _call_on_rows(
    forward: Any, hidden: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], rows: slice | Sequence[int]
) -> Any:
    """Call a block's forward on some of its tokens."""
    take = partial(_take_rows, rows, hidden.shape[1])
    return forward(hidden[:, rows], *map(take, args), **{name: take(value) for name, value in kwargs.items()})


def _take_rows(rows: slice | Sequence[int], n_tokens: int, value: Any) -> Any:
    """Return the rows of a value that has one for each token (positions, their embeddings); any other as it is."""
    if isinstance(value, tuple):
        return tuple(_take_rows(rows, n_tokens, part) for part in value)
    if isinstance(value, Tensor) and value.dim() > 1 and value.shape[:2] == (1, n_tokens):
        return value[:, rows]
    return value
