"""One forward pass over a tree of contexts: every shared token is computed once, at every layer.

The model's blocks run as they are, over a few hundred tokens at a time, so that what a block makes on the
way stays in the processor's caches and memory does not grow with the tree. Attention is the only part of
a block that looks across tokens. It is replaced, through ``transformers``' AttentionInterface, by one that
keeps keys and values by depth: walking depth first, what is kept is at every token that token's whole
context (``lenscore.extraction.context_tree``).

The last block makes keys and values of all tokens, and the rest of itself for the asked tokens alone.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

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
    if kinds := _rotary_kinds(model) & set(_BY_LENGTH):
        raise UnsharedAttentionError(f"its rotary embedding depends on the context's length ({', '.join(kinds)})")
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


class _Walk:
    """A forward pass under way.

    Attributes:
        states: of the asked places, one entry a layer so far.
    """

    def __init__(self, tree: ContextTree, places: Sequence[int], chunk: int, n_blocks: int):
        self.states: list[Tensor] = []
        self._tree = tree
        self._places = places
        self._chunks = [(start, min(start + chunk, len(tree.ids))) for start in range(0, len(tree.ids), chunk)]
        self._n_blocks = n_blocks
        self._n_depths = max(tree.depths) + 1
        self._kept: KeptByDepth | None = None  # the same room for all blocks whose heads are alike
        self._now = (0, 0)  # the chunk that is in the block
        self._is_last = False  # the block is the last one,
        self._drawn: list[Tensor] = []  # and this is what its asked tokens drew from attention so far
        self._all_kept = False  # the last block has all its keys and values

    def run_block(self, index: int, forward: Any, *args: Any, **kwargs: Any) -> Any:
        """Do what the block's ``forward`` does, chunk by chunk, and keep the asked states."""
        hidden = args[0] if args else kwargs.pop("hidden_states")
        call = partial(_call_on_rows, forward, hidden, args[1:], kwargs)
        if index == 0:
            self._keep(hidden[0, self._places])
        self._is_last = index == self._n_blocks - 1
        if self._is_last:
            # What the backbone makes of the last block's output is not looked at.
            return _in_place_of(self._run_last(call), hidden)
        whole = torch.empty_like(hidden)
        output: Any = None
        for chunk in self._chunks:
            self._now = chunk
            output = call(slice(*chunk))
            whole[:, slice(*chunk)] = _state_of(output)
        self._keep(whole[0, self._places])
        return _in_place_of(output, whole)

    def _run_last(self, call: Any) -> Any:
        for chunk in self._chunks:
            self._now = chunk
            try:
                call(slice(*chunk))
            except _KeysKept:
                continue
            raise UnsharedAttentionError("its last block has no attention of the usual kind")
        self._all_kept = True
        output = call(self._places)
        self._keep(_state_of(output)[0])
        return output

    def _keep(self, states: Float[Tensor, "asked width"]) -> None:
        self.states.append(states.clone())

    def attend(
        self,
        query: Float[Tensor, "heads tokens width"],
        key: Float[Tensor, "groups tokens width"],
        value: Float[Tensor, "groups tokens value_width"],
        scores: Scores,
    ) -> Float[Tensor, "tokens heads value_width"]:
        """Keep the keys and values of the chunk's tokens by depth, and attend to them run by run."""
        if self._all_kept:
            return torch.cat(self._drawn)
        if self._kept is None or not self._kept.serves(key, value):
            self._kept = KeptByDepth(key, value, self._n_depths)
        start, end = self._now
        places = self._asked_in(start, end) if self._is_last else range(start, end)
        drawn = query.new_empty((len(places), query.shape[0], value.shape[2]))
        done = 0
        for first, stop in self._tree.runs(start, end):
            run = slice(first - start, stop - start)
            self._kept.put(self._tree.depths[first], key[:, run], value[:, run])
            rows = [place - start for place in self._asked_in(first, stop)] if self._is_last else run
            some = query[:, rows]
            if some.shape[1] > 0:
                written = drawn[done : done + some.shape[1]]
                depths = [self._tree.depths[place] for place in places[done : done + some.shape[1]]]
                self._kept.attend(some, depths, scores, written.transpose(0, 1))
                done += some.shape[1]
        if self._is_last:
            self._drawn.append(drawn)
            raise _KeysKept
        return drawn

    def _asked_in(self, first: int, stop: int) -> Sequence[int]:
        return self._places[bisect_left(self._places, first) : bisect_left(self._places, stop)]


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


def _rotary_kinds(model: PreTrainedModel) -> set[str]:
    """Return the kinds of rotary embedding that a model's config names, whether for all layers or by layer type."""
    found = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
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
    """Make the model's attention layers follow ``walk`` while the block runs."""
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
    """Make the blocks run chunk by chunk while the block runs."""
    for index, block in enumerate(architecture.blocks):
        block.forward = partial(walk.run_block, index, block.forward)
    try:
        yield
    finally:
        for block in architecture.blocks:
            del block.forward
