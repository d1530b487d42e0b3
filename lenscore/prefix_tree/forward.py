"""One forward pass over a tree of contexts: every shared token is computed once, at every layer.

The model's blocks run as they are, over a few hundred tokens at a time, so that what a block makes on the
way stays in the processor's caches and memory does not grow with the tree. Attention is the only part of
a block that looks across tokens. It is replaced, through ``transformers``' AttentionInterface, by one that
keeps keys and values by depth: walking depth first, what is kept is at every token that token's whole
context (``lenscore.prefix_tree.tree``).

The last block projects all tokens to queries, keys and values, and does the rest for the asked ones alone.
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
from transformers import PreTrainedModel

from lenscore.jobs.spent import spent_on
from lenscore.models.architecture import Architecture
from lenscore.models.blocks import blocks_run_by, in_place_of, state_entering, state_leaving
from lenscore.models.residuals import kept_states
from lenscore.prefix_tree.attention_hook import UnsharedAttentionError, attention_by, refuse_by_config
from lenscore.prefix_tree.keys_and_values import KeptByDepth, Scores
from lenscore.prefix_tree.tree import ContextTree


class _KeysKept(Exception):
    """Keys and values of a chunk are kept."""


@torch.inference_mode()
def tree_states(
    model: PreTrainedModel, architecture: Architecture, tree: ContextTree, asked: Sequence[int], chunk: int
) -> Float[Tensor, "layers asked width"]:
    """Run the blocks over a tree and return the residual states at the ``asked`` places, layers 0 to L.

    Args:
        model: its attention must go through ``transformers``' AttentionInterface.
        architecture: its parts.
        tree: the contexts.
        asked: places in the tree, in any order, each one or more times.
        chunk: how many tokens go through a block at once.

    Raises:
        UnsharedAttentionError: the model's attention does what is not done here.
    """
    places = sorted(set(asked))
    with over_tree(model, architecture, tree, places, chunk) as run, kept_states(architecture, places) as states:
        run()
    index = {place: row for row, place in enumerate(places)}
    return torch.stack(states)[:, [index[place] for place in asked]]


@contextmanager
def over_tree(
    model: PreTrainedModel, architecture: Architecture, tree: ContextTree, places: Sequence[int], chunk: int
) -> Iterator[Callable[[], None]]:
    """Make the model read a tree inside the ``with``; yield what runs its blocks over it, once or more often.

    A block's output is that of the whole tree, (1, tokens, width); the last one's is right at ``places`` alone.

    Args:
        model: its attention must go through ``transformers``' AttentionInterface.
        architecture: its parts.
        tree: the contexts.
        places: what is asked for in the tree, rising.
        chunk: how many tokens go through a block at once.

    Raises:
        UnsharedAttentionError: the model's attention does what is not done here.
    """
    refuse_by_config(model)
    walk = _Walk(tree, places, chunk, len(architecture.blocks))
    inputs = {
        "input_ids": torch.tensor([tree.ids], device=model.device),
        "position_ids": torch.tensor([tree.depths], device=model.device),
    }

    def run() -> None:
        with spent_on("model"):
            architecture.backbone(**inputs, use_cache=False)

    with attention_by(model, walk.attend), blocks_run_by(architecture.blocks, walk.run_block):
        yield run


@dataclass(frozen=True)
class _Run:
    """Neighbours in a chunk that follow one another.

    Attributes:
        rows: where they stand in the chunk.
        depths: theirs.
        asked: those of the chunk's rows that are asked for.
        asked_depths: theirs.
    """

    rows: slice
    depths: range
    asked: list[int]
    asked_depths: list[int]


@dataclass(frozen=True)
class _Chunk:
    """Tokens that go through a block together."""

    rows: slice
    runs: list[_Run]

    @property
    def n_tokens(self) -> int:
        return int(self.rows.stop - self.rows.start)


def _chunks(tree: ContextTree, places: Sequence[int], size: int) -> Iterator[_Chunk]:
    for start in range(0, len(tree.ids), size):
        end = min(start + size, len(tree.ids))
        runs = []
        for first, stop in tree.runs(start, end):
            asked = places[bisect_left(places, first) : bisect_left(places, stop)]
            runs.append(
                _Run(
                    slice(first - start, stop - start),
                    range(tree.depths[first], tree.depths[stop - 1] + 1),
                    [place - start for place in asked],
                    [tree.depths[place] for place in asked],
                )
            )
        yield _Chunk(slice(start, end), runs)


class _Walk:
    """Forward passes over a tree, block by block."""

    def __init__(self, tree: ContextTree, places: Sequence[int], chunk: int, n_blocks: int):
        self._places = places
        self._chunks = list(_chunks(tree, places, chunk))
        self._n_blocks = n_blocks
        self._n_depths = max(tree.depths) + 1
        self._kept: KeptByDepth | None = None  # the same room for all blocks whose heads are alike
        self._attend: Any = None  # what attention does with the tokens that are in the block now
        self._n_attended = 0

    def run_block(self, index: int, forward: Any, *args: Any, **kwargs: Any) -> Any:
        """Do what the block's ``forward`` does, chunk by chunk."""
        hidden = state_entering(args, kwargs)
        kwargs.pop("hidden_states", None)
        call = partial(_call_on_rows, forward, hidden, args[1:], kwargs)
        if index == self._n_blocks - 1:
            output = self._run_last(call)
            whole = hidden.clone()
            whole[:, self._places] = state_leaving(output)
            return in_place_of(output, whole)
        whole = torch.empty_like(hidden)
        for chunk in self._chunks:
            self._n_attended = 0
            self._attend = partial(self._attend_from_all, chunk)
            output = call(chunk.rows)
            if self._n_attended != 1:
                raise UnsharedAttentionError("a block of it looks across tokens by other means than attention")
            whole[:, chunk.rows] = state_leaving(output)
        return in_place_of(output, whole)

    def _run_last(self, call: Any) -> Any:
        """Make all keys and values, then run the block for the asked tokens, which by then have attended."""
        drawn: list[Tensor] = []
        for chunk in self._chunks:
            self._attend = partial(self._attend_from_asked, chunk, drawn)
            try:
                call(chunk.rows)
            except _KeysKept:
                continue
            raise UnsharedAttentionError("its last block has no attention of the usual kind")
        self._attend = lambda *_: torch.cat(drawn)
        return call(self._places)

    def attend(
        self,
        query: Float[Tensor, "heads tokens width"],
        key: Float[Tensor, "groups tokens width"],
        value: Float[Tensor, "groups tokens value_width"],
        scores: Scores,
    ) -> Float[Tensor, "tokens heads value_width"]:
        """Do attention's part for the tokens that are in the block."""
        self._n_attended += 1
        attended: Tensor = self._attend(query, key, value, scores)
        return attended

    def _attend_from_all(self, chunk: _Chunk, query: Tensor, key: Tensor, value: Tensor, scores: Scores) -> Tensor:
        kept = self._room_for(chunk, query, key, value)
        drawn = query.new_empty((query.shape[1], query.shape[0], value.shape[2]))
        for run in chunk.runs:
            kept.put(run.depths[0], key[:, run.rows], value[:, run.rows])
            kept.attend(query[:, run.rows], run.depths, scores, drawn[run.rows].transpose(0, 1))
        return drawn

    def _attend_from_asked(
        self, chunk: _Chunk, drawn: list[Tensor], query: Tensor, key: Tensor, value: Tensor, scores: Scores
    ) -> None:
        kept = self._room_for(chunk, query, key, value)
        for run in chunk.runs:
            kept.put(run.depths[0], key[:, run.rows], value[:, run.rows])
            if run.asked:
                drawn.append(query.new_empty((len(run.asked), query.shape[0], value.shape[2])))
                kept.attend(query[:, run.asked], run.asked_depths, scores, drawn[-1].transpose(0, 1))
        raise _KeysKept

    def _room_for(self, chunk: _Chunk, query: Tensor, key: Tensor, value: Tensor) -> KeptByDepth:
        if not query.shape[1] == key.shape[1] == value.shape[1] == chunk.n_tokens:
            raise UnsharedAttentionError("its attention reads other keys than those of the tokens in the block")
        if self._kept is None or not self._kept.serves(key, value):
            self._kept = KeptByDepth(key, value, self._n_depths)
        return self._kept


def _call_on_rows(
    forward: Any, hidden: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], rows: slice | Sequence[int]
) -> Any:
    """Call a block's forward on some of its tokens."""
    of_rows = partial(_take_rows, rows, hidden.shape[1])
    return forward(hidden[:, rows], *map(of_rows, args), **{name: of_rows(value) for name, value in kwargs.items()})


def _take_rows(rows: slice | Sequence[int], n_tokens: int, value: Any) -> Any:
    """Return the rows of what has one for each token (positions, their embeddings); anything else as it is."""
    if isinstance(value, tuple):
        return tuple(_take_rows(rows, n_tokens, part) for part in value)
    if isinstance(value, Tensor) and value.dim() > 1 and value.shape[:2] == (1, n_tokens):
        return value[:, rows]
    return value
