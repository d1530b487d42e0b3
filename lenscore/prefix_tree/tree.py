"""The tree of common token prefixes of some contexts, laid out so that every shared token is there once.

The unique tokens form one sequence in depth-first order, each with its true position, its *depth*. No list of parents
is needed: the ancestor of a token at a lower depth is the last token before it that has this depth. So whoever goes
through the sequence and keeps the last token seen at each depth has, at every token, that token's whole context.
Also, a token's descendants follow it without a gap, so that the token at place q has the one at place k in its context
exactly where k ≤ q < end(k).
Contexts that share nothing are trees one after the other, and are read in the same way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Protocol, runtime_checkable


@runtime_checkable
class ContextTokens(Protocol):
    """A context, as far as running a model over it is concerned."""

    @property
    def ids(self) -> list[int]:
        """All of its token ids."""

    @property
    def predicting_ids(self) -> list[int]:
        """The token ids that have a next token: all but the last."""

    @property
    def predicting_positions(self) -> range:
        """The positions whose states are wanted."""


@dataclass(frozen=True)
class ContextTree:
    """Some contexts' unique tokens.

    Attributes:
        ids: the tokens, depth first.
        depths: each token's position in its contexts, from 0.
        places: for each context, in the order given, the places of its tokens in ``ids``.
    """

    ids: list[int]
    depths: list[int]
    places: list[list[int]]

    def spans(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Cut [start, end) of the sequence wherever a token does not follow the one before it."""
        first = start
        for place in range(start + 1, end):
            if self.depths[place] != self.depths[place - 1] + 1:
                yield first, place
                first = place
        if first < end:
            yield first, end

    @cached_property
    def ends(self) -> list[int]:
        """For each token, the end of its descendants: they are the tokens from the next one to before this place."""
        ends = [len(self.ids)] * len(self.ids)
        path: list[int] = []  # places of the tokens whose descendants may go on
        for place, depth in enumerate(self.depths):
            for ended in path[depth:]:
                ends[ended] = place
            path[depth:] = [place]
        return ends

    def window_starts(self, window: int) -> list[int]:
        """Return for each token the place of the first of its ``window`` last tokens, itself included."""
        starts = []
        path: list[int] = []  # places of the current token's context
        for place, depth in enumerate(self.depths):
            path[depth:] = [place]
            starts.append(path[max(0, depth - window + 1)])
        return starts


def build_tree(contexts: Sequence[Sequence[int]]) -> ContextTree:
    """Return the tree of contexts' token ids."""
    tree = ContextTree([], [], [[] for _ in contexts])
    path: list[int] = []  # places of the previous context's tokens
    previous: Sequence[int] = ()
    # Once sorted, a context shares most with the one before it: no other needs to be compared.
    for index in sorted(range(len(contexts)), key=lambda index: list(contexts[index])):
        context = contexts[index]
        shared = common_length(previous, context)
        new = range(len(tree.ids), len(tree.ids) + len(context) - shared)
        tree.ids.extend(context[shared:])
        tree.depths.extend(range(shared, len(context)))
        path = [*path[:shared], *new]
        tree.places[index].extend(path)
        previous = context
    return tree


def groups_within_budget(contexts: Sequence[Sequence[int]], budget: int) -> Iterator[list[int]]:
    """Yield groups of contexts (their indices) whose trees have at most ``budget`` tokens each.

    Contexts are taken in the order of their ids, so that those that share most stay together. A context
    that has more tokens than the budget is in a group by itself.
    """
    group: list[int] = []
    size = 0
    for index in sorted(range(len(contexts)), key=lambda index: list(contexts[index])):
        length = len(contexts[index])
        shared = common_length(contexts[group[-1]], contexts[index]) if group else 0
        if group and size + length - shared > budget:
            yield group
            group, size, shared = [], 0, 0
        group.append(index)
        size += length - shared
    if group:
        yield group


def n_unique_tokens(contexts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens the tree of contexts has, without building it."""
    ordered = sorted(contexts, key=list)
    return sum(map(len, ordered)) - sum(common_length(*pair) for pair in pairwise(ordered))


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two contexts share from their start.

    By halves, since slices are compared some hundred times as fast as tokens one by one.
    """
    shared, most = 0, min(len(one), len(other))
    while shared < most:
        middle = (shared + most + 1) // 2
        if one[shared:middle] == other[shared:middle]:
            shared = middle
        else:
            most = middle - 1
    return shared
