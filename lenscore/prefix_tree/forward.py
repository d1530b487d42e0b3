"""One forward pass over a tree of contexts: every shared token is computed once, at every layer.

The model's blocks run as they are, on a chunk of some hundred tokens at a time, so that a block's intermediate
results stay in the processor's caches and memory does not grow with the tree. Attention is the only part of
a block that looks across tokens. It is replaced, through ``transformers``' AttentionInterface, by attention over the
tree, of which there are two implementations (``lenscore.prefix_tree.attention``).

The last block projects all tokens to queries, keys and values, and does the rest for the asked tokens only.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lenscore.models.blocks import input_state, output_state, patched_blocks, with_output_state
from lenscore.models.loading import LoadedModel
from lenscore.models.residuals import captured_states
from lenscore.prefix_tree.attention import AttentionKind, Chunk, ScoreParameters, TreeAttention
from lenscore.prefix_tree.attention_by_spans import AttentionBySpans
from lenscore.prefix_tree.attention_by_tree import AttentionByTree
from lenscore.prefix_tree.attention_hook import (
    UnsupportedAttentionError,
    patched_attention,
    refuse_unsupported_config,
)
from lenscore.prefix_tree.tree import ContextTree

_IMPLEMENTATIONS: dict[AttentionKind, Callable[[ContextTree, Sequence[Chunk], torch.device], TreeAttention]] = {
    "sdpa": AttentionBySpans,
    "flex": AttentionByTree,
}


# All but cuDNN's, which plans anew for each new number of queries and keys: a tree has many, and a plan takes longer
# than the attention that it is for.
_SDPA_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


class _StopBlock(Exception):
    """Leaves a block once its keys and values are in the cache: the rest of it is not needed."""


@torch.inference_mode()
def tree_states(
    loaded: LoadedModel, tree: ContextTree, asked: Sequence[int], chunk: int, attention: AttentionKind = "sdpa"
) -> Float[Tensor, "layers asked width"]:
    """Run the blocks over a tree and return the residual states at the ``asked`` places, layers 0 to L.

    Args:
        loaded: its attention must go through ``transformers``' AttentionInterface.
        tree: the contexts.
        asked: places in the tree, in any order, each one or more times.
        chunk: how many tokens go through a block at once.
        attention: which implementation of attention runs.

    Raises:
        UnsupportedAttentionError: the model's attention does something that is not implemented here.
    """
    places = sorted(set(asked))
    row_of_place = {place: row for row, place in enumerate(places)}
    # On the device once, since every copy to a GPU waits for the GPU's work to be done.
    rows = torch.tensor(places, dtype=torch.long, device=loaded.device)
    blocks = loaded.architecture.blocks
    with patched_for_tree(loaded, tree, places, chunk, attention) as run, captured_states(blocks, rows) as states:
        run()
    return torch.stack(states)[:, [row_of_place[place] for place in asked]]


@contextmanager
def patched_for_tree(
    loaded: LoadedModel, tree: ContextTree, places: Sequence[int], chunk: int, attention: AttentionKind = "sdpa"
) -> Iterator[Callable[[], None]]:
    """Patch the model to read a tree inside the ``with``; yield a function that runs its blocks over the tree.

    The function may be called more than once. A block's output covers the whole tree, (1, tokens, width); that of
    the last block is right at ``places`` only.

    Args:
        loaded: its attention must go through ``transformers``' AttentionInterface.
        tree: the contexts.
        places: the asked places in the tree, rising.
        chunk: how many tokens go through a block at once.
        attention: which implementation of attention runs.

    Raises:
        UnsupportedAttentionError: the model's attention does something that is not implemented here.
    """
    refuse_unsupported_config(loaded.model)
    blocks = loaded.architecture.blocks
    chunks = list(_chunks(len(tree.ids), places, chunk))
    implementation = _IMPLEMENTATIONS[attention](tree, chunks, loaded.device)
    tree_pass = _TreePass(
        chunks, torch.tensor(places, dtype=torch.long, device=loaded.device), implementation, len(blocks)
    )
    inputs = {
        "input_ids": torch.tensor([tree.ids], device=loaded.device),
        "position_ids": torch.tensor([tree.depths], device=loaded.device),
    }
    with (
        patched_attention(loaded.model, tree_pass.attend),
        patched_blocks(blocks, tree_pass.run_block),
        sdpa_kernel(_SDPA_KERNELS),
    ):
        yield partial(loaded.run_blocks, **inputs)


def _chunks(n_tokens: int, places: Sequence[int], size: int) -> Iterator[Chunk]:
    for start in range(0, n_tokens, size):
        end = min(start + size, n_tokens)
        yield Chunk(range(start, end), places[bisect_left(places, start) : bisect_left(places, end)])


class _TreePass:
    """Forward passes over a tree, block by block."""

    def __init__(self, chunks: Sequence[Chunk], places: Int[Tensor, " asked"], attention: TreeAttention, n_blocks: int):
        self._chunks = chunks
        self._places = places
        self._attention = attention
        self._n_blocks = n_blocks
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
        for number, chunk in enumerate(self._chunks):
            self._n_attended = 0
            self._attend = partial(self._attend_to_tree, number, False)
            output = call(chunk.rows)
            if self._n_attended != 1:
                raise UnsupportedAttentionError("a block of it looks across tokens by other means than attention")
            whole[:, chunk.rows] = output_state(output)
        return with_output_state(output, whole)

    def _run_last_block(self, call: Any) -> Any:
        """Attend from the asked tokens chunk by chunk, then run the block for them with what attention returned."""
        attended: list[Tensor] = []

        def keep_and_stop(number: int, *arguments: Any) -> None:
            attended.append(self._attend_to_tree(number, True, *arguments))
            raise _StopBlock

        for number, chunk in enumerate(self._chunks):
            self._attend = partial(keep_and_stop, number)
            try:
                call(chunk.rows)
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

    def _attend_to_tree(
        self, number: int, asked_only: bool, query: Tensor, key: Tensor, value: Tensor, scores: ScoreParameters
    ) -> Tensor:
        if not query.shape[1] == key.shape[1] == value.shape[1] == len(self._chunks[number].places):
            raise UnsupportedAttentionError("its attention reads other keys than those of the tokens in the block")
        return self._attention.attend(number, query, key, value, scores, asked_only)


def _call_on_rows(
    forward: Any, hidden: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], rows: slice | Tensor
) -> Any:
    """Call a block's forward on some of its tokens."""
    take = partial(_take_rows, rows, hidden.shape[1])
    return forward(hidden[:, rows], *map(take, args), **{name: take(value) for name, value in kwargs.items()})


def _take_rows(rows: slice | Tensor, n_tokens: int, value: Any) -> Any:
    """Return the rows of a value that has one for each token (positions, their embeddings); any other as it is."""
    if isinstance(value, tuple):
        return tuple(_take_rows(rows, n_tokens, part) for part in value)
    if isinstance(value, Tensor) and value.dim() > 1 and value.shape[:2] == (1, n_tokens):
        return value[:, rows]
    return value
