"""Contexts of one question as one sequence: every shared token is computed once.

The contexts of a question form a tree of common token prefixes. Its unique tokens stand in one
sequence in depth-first order, each with its true position, and go through the model in one forward
pass. Attention is the only part of a block that looks across tokens, so only it must know of the
tree: each node's tokens attend to its ancestors' and, causally, to the node's own. The results are
those of the contexts run one by one, to rounding; a job proves it on its first question.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

IMPLEMENTATION = "packed_tree"


class UnsharedAttentionError(Exception):
    """The model's attention does something that the packed tree's does not: contexts must run one by one."""


@dataclass(frozen=True)
class Node:
    """A run of tokens that the same contexts share.

    Attributes:
        start: its first token's place in the packed sequence.
        end: one past its last.
        before: the runs (start, end) of the packed sequence that its tokens follow, in order.
    """

    start: int
    end: int
    before: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class PackedTree:
    """The tree of some contexts' tokens.

    Attributes:
        ids: the unique tokens, depth first.
        depths: each one's true position in its contexts.
        nodes: in the order of ``ids``, which they cover.
        places: for each context, in the order given, where its tokens stand in ``ids``.
    """

    ids: list[int]
    depths: list[int]
    nodes: list[Node]
    places: list[list[int]]
    _masks: dict[int, Tensor] = field(default_factory=dict, repr=False)

    def mask(self, index: int, device: torch.device) -> Bool[Tensor, "rows columns"]:
        """Return what the tokens of a node see of what is before it and of itself."""
        if index not in self._masks:
            node = self.nodes[index]
            n_rows, n_before = node.end - node.start, sum(end - start for start, end in node.before)
            mask = torch.ones(n_rows, n_before + n_rows, dtype=torch.bool, device=device)
            self._masks[index] = mask.tril_(diagonal=n_before)
        return self._masks[index]


def pack(contexts: Sequence[Sequence[int]]) -> PackedTree:
    """Return the tree of contexts' token ids; none may be empty."""
    tree = PackedTree([], [], [], [[] for _ in contexts])
    _grow(tree, contexts, sorted(range(len(contexts)), key=lambda index: list(contexts[index])), 0, ())
    return tree


def _grow(
    tree: PackedTree,
    contexts: Sequence[Sequence[int]],
    members: list[int],
    depth: int,
    before: tuple[tuple[int, int], ...],
) -> None:
    """Add the contexts ``members``, sorted and alike up to ``depth``, below the node they share."""
    first, last = contexts[members[0]], contexts[members[-1]]
    end = depth
    while end < min(len(first), len(last)) and first[end] == last[end]:
        end += 1
    if end > depth:
        start = len(tree.ids)
        tree.ids.extend(first[depth:end])
        tree.depths.extend(range(depth, end))
        tree.nodes.append(Node(start, len(tree.ids), before))
        before = _joined(before, (start, len(tree.ids)))
        for member in members:
            tree.places[member].extend(range(start, len(tree.ids)))
    remaining = [member for member in members if len(contexts[member]) > end]
    by_next: dict[int, list[int]] = {}
    for member in remaining:
        by_next.setdefault(contexts[member][end], []).append(member)
    for branch in by_next.values():
        _grow(tree, contexts, branch, end, before)


def _joined(runs: tuple[tuple[int, int], ...], new: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    if runs and runs[-1][1] == new[0]:
        return (*runs[:-1], (runs[-1][0], new[1]))
    return (*runs, new)


def within_budget(contexts: Sequence[Sequence[int]], budget: int) -> Iterator[list[int]]:
    """Yield groups of contexts (their indices) whose trees have at most ``budget`` tokens each.

    Contexts are taken in the order of their ids, so that those that share most stay together. A context
    that is over the budget by itself is a group of its own.
    """
    order = sorted(range(len(contexts)), key=lambda index: list(contexts[index]))
    group: list[int] = []
    size = 0
    for index in order:
        own = list(contexts[index])
        shared = _common_length(contexts[group[-1]], own) if group else 0
        if group and size + len(own) - shared > budget:
            yield group
            group, size, shared = [], 0, 0
        group.append(index)
        size += len(own) - shared
    if group:
        yield group


def _common_length(one: Sequence[int], other: Sequence[int]) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length


_tree: ContextVar[PackedTree] = ContextVar("tree")


def _attend_in_tree(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention over a packed tree, with the signature of ``transformers``' attention functions.

    Args:
        module: the attention layer.
        query: (1, heads, tokens, width).
        key: (1, key-value heads, tokens, width).
        value: as ``key``.
        attention_mask: None; the tree says what is seen.
        scaling: of the scores.
        dropout: 0 in inference.
        kwargs: what a family adds; none that changes the scores may be set.

    Returns:
        (1, tokens, heads, width), and None for the weights.
    """
    tree = _tree.get()
    if changed := [name for name in ("softcap", "s_aux", "position_bias") if kwargs.get(name) is not None]:
        raise UnsharedAttentionError(f"its attention uses {', '.join(changed)}")
    if (window := kwargs.get("sliding_window")) is not None and max(tree.depths) >= window:
        raise UnsharedAttentionError(f"a context is longer than its attention's sliding window of {window} tokens")
    grouped = query.shape[1] != key.shape[1]
    parts = []
    for index, node in enumerate(tree.nodes):
        runs = [*node.before, (node.start, node.end)]
        own_key, own_value = (torch.cat([x[:, :, start:end] for start, end in runs], dim=2) for x in (key, value))
        parts.append(
            scaled_dot_product_attention(
                query[:, :, node.start : node.end],
                own_key,
                own_value,
                attn_mask=tree.mask(index, query.device) if node.before else None,
                is_causal=not node.before,
                dropout_p=dropout,
                scale=scaling,
                enable_gqa=grouped,
            )
        )
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


AttentionInterface.register(IMPLEMENTATION, _attend_in_tree)


@contextmanager
def attention_in_tree(model: PreTrainedModel, tree: PackedTree) -> Iterator[None]:
    """Make the model's attention layers follow ``tree`` while the block runs."""
    own = model.config.get_text_config()._attn_implementation
    model.set_attn_implementation(IMPLEMENTATION)
    token = _tree.set(tree)
    try:
        yield
    finally:
        _tree.reset(token)
        model.set_attn_implementation(own)


def inputs_of(tree: PackedTree, device: torch.device) -> dict[str, Int[Tensor, "1 tokens"]]:
    """Return the forward pass's arguments for a tree."""
    return {
        "input_ids": torch.tensor([tree.ids], device=device),
        "position_ids": torch.tensor([tree.depths], device=device),
    }
