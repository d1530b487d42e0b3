"""One forward pass over a tree of contexts: every shared token is computed once, at every layer.

The model's blocks run as they are, over a few hundred tokens at a time, so that what a block makes on the
way stays in the processor's caches and memory does not grow with the tree. Attention is the only part of
a block that looks across tokens. It is replaced, through ``transformers``' AttentionInterface, by one that
keeps keys and values by depth: walking depth first, what is kept is at every token that token's whole
context (``lenscore.extraction.context_tree``).

The last block projects all tokens to queries, keys and values, and does the rest for the asked ones alone.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig, PreTrainedModel

from lenscore.extraction.context_tree import ContextTree
from lenscore.extraction.path_attention import KeptByDepth, Scores
from lenscore.lenses.architecture import Architecture

IMPLEMENTATION = "lenscore_tree"

# Arguments of an attention function that change its scores in a way that is not done here.
_NOT_DONE = ("s_aux", "position_bias", "head_mask")
# Rotary embeddings whose frequencies depend on how long the longest context of a forward pass is.
_BY_LENGTH = ("dynamic", "longrope")


class UnsharedAttentionError(Exception):
    """The model's attention does something that is not done here: contexts must run one by one."""


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
    _refuse_by_config(model)
    places = sorted(set(asked))
    walk = _Walk(tree, places, chunk, len(architecture.blocks))
    device = model.device
    with _attention_of(model, walk), _blocks_of(architecture, walk):
        architecture.backbone(
            input_ids=torch.tensor([tree.ids], device=device),
            position_ids=torch.tensor([tree.depths], device=device),
            use_cache=False,
        )
    index = {place: row for row, place in enumerate(places)}
    return torch.stack(walk.states)[:, [index[place] for place in asked]]


def _refuse_by_config(model: PreTrainedModel) -> None:
    config = model.config.get_text_config()
    if kinds := _rotary_kinds(config) & set(_BY_LENGTH):
        raise UnsharedAttentionError(f"its rotary embedding depends on the context's length ({', '.join(kinds)})")
    if getattr(config, "num_kv_shared_layers", None):
        raise UnsharedAttentionError("its blocks read keys and values of other blocks")


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
    """A forward pass under way.

    Attributes:
        states: of the asked places, one entry a layer so far.
    """

    def __init__(self, tree: ContextTree, places: Sequence[int], chunk: int, n_blocks: int):
        self.states: list[Tensor] = []
        self._places = places
        self._chunks = list(_chunks(tree, places, chunk))
        self._n_blocks = n_blocks
        self._n_depths = max(tree.depths) + 1
        self._kept: KeptByDepth | None = None  # the same room for all blocks whose heads are alike
        self._attend: Any = None  # what attention does with the tokens that are in the block now
        self._n_attended = 0

    def run_block(self, index: int, forward: Any, *args: Any, **kwargs: Any) -> Any:
        """Do what the block's ``forward`` does, chunk by chunk, and keep the asked states."""
        hidden = args[0] if args else kwargs.pop("hidden_states")
        call = partial(_call_on_rows, forward, hidden, args[1:], kwargs)
        if index == 0:
            self.states.append(hidden[0, self._places])
        if index == self._n_blocks - 1:
            output = self._run_last(call)
            self.states.append(_state_of(output)[0])
            # What the backbone makes of the last block's output is not looked at.
            return _in_place_of(output, hidden)
        whole = torch.empty_like(hidden)
        for chunk in self._chunks:
            self._n_attended = 0
            self._attend = partial(self._attend_from_all, chunk)
            output = call(chunk.rows)
            if self._n_attended != 1:
                raise UnsharedAttentionError("a block of it looks across tokens by other means than attention")
            whole[:, chunk.rows] = _state_of(output)
        self.states.append(whole[0, self._places])
        return _in_place_of(output, whole)

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


def _state_of(output: Any) -> Tensor:
    """Return the residual state: blocks of some families return it alone, of others a tuple that it opens."""
    state: Tensor = output[0] if isinstance(output, tuple) else output
    return state


def _in_place_of(output: Any, state: Tensor) -> Any:
    return (state, *output[1:]) if isinstance(output, tuple) else state


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


def _rotary_kinds(config: PreTrainedConfig) -> set[str]:
    """Return the kinds of rotary embedding that a config names, whether for all layers or by layer type."""
    found = getattr(config, "rope_parameters", None) or {}
    sections = [found, *(section for section in found.values() if isinstance(section, dict))]
    return {section["rope_type"] for section in sections if "rope_type" in section}


_walk: ContextVar[_Walk] = ContextVar("walk")


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention along a walk, with the signature of ``transformers``' attention functions.

    Args:
        module: the attention layer.
        query: (1, heads, tokens, width).
        key: (1, groups, tokens, width).
        value: as ``key``.
        attention_mask: what :func:`_window` made: the sliding window's size, or None.
        scaling: of the scores.
        dropout: 0 in inference.
        kwargs: what a family adds; none that changes the scores in another way may be set.

    Returns:
        (1, tokens, heads, width), and None for the weights.
    """
    if changed := [name for name in _NOT_DONE if kwargs.get(name) is not None]:
        raise UnsharedAttentionError(f"its attention uses {', '.join(changed)}")
    if attention_mask is not None and attention_mask.dim() > 0:
        raise UnsharedAttentionError("its attention has a mask of its own making")
    scores = Scores(
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
        window=None if attention_mask is None else int(attention_mask),
        soft_cap=kwargs.get("softcap"),
    )
    return _walk.get().attend(query[0], key[0], value[0], scores)[None], None


def _window(*_: Any, local_size: int | None = None, config: Any = None, **__: Any) -> Tensor | None:
    """Return the size of the sliding window that the model asks a mask for, in place of a mask of tokens²."""
    if getattr(config, "attention_chunk_size", None) is not None:
        raise UnsharedAttentionError("its attention is cut into chunks")
    return None if local_size is None else torch.tensor(local_size)


AttentionInterface.register(IMPLEMENTATION, _attention)
AttentionMaskInterface.register(IMPLEMENTATION, _window)


@contextmanager
def _attention_of(model: PreTrainedModel, walk: _Walk) -> Iterator[None]:
    """Make the model's attention layers follow ``walk`` inside the ``with``."""
    own = model.config.get_text_config()._attn_implementation
    model.set_attn_implementation(IMPLEMENTATION)
    token = _walk.set(walk)
    try:
        yield
    finally:
        _walk.reset(token)
        model.set_attn_implementation(own)


@contextmanager
def _blocks_of(architecture: Architecture, walk: _Walk) -> Iterator[None]:
    """Make the blocks run chunk by chunk inside the ``with``."""
    for index, block in enumerate(architecture.blocks):
        block.forward = partial(walk.run_block, index, block.forward)
    try:
        yield
    finally:
        for block in architecture.blocks:
            del block.forward
