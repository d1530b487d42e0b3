"""The tree of common token prefixes of some contexts, laid out so that every shared token stands once.

The unique tokens stand in one sequence in depth-first order, each with its true position, its *depth*.
What a token follows need not be written down: at every lower depth it is the token that stood there
last. So a walk along the sequence that keeps, for each depth, the last token seen has at every step the
token's whole context at hand. Contexts that share nothing are trees beside one another, and walk as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ContextTree:
    """Some contexts' unique tokens.

    Attributes:
        ids: the tokens, depth first.
        depths: each one's position in its contexts, from 0.
        places: for each context, in the order given, where its tokens stand in ``ids``.
    """

    ids: list[int]
    depths: list[int]
    places: list[list[int]]

    def runs(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Cut [start, end) of the sequence where a token does not follow the one before it."""
        first = start
        for place in range(start + 1, end):
            if self.depths[place] != self.depths[place - 1] + 1:
                yield first, place
                first = place
        if first < end:
            yield first, end


def grow(contexts: Sequence[Sequence[int]]) -> ContextTree:
    """Return the tree of contexts' token ids."""
    tree = ContextTree([], [], [[] for _ in contexts])
    path: list[int] = []  # places of the tokens of the context before
    last: Sequence[int] = ()
    # Sorted, contexts that share most stand beside one another, and sharing with the one before is all there is.
    for index in sorted(range(len(contexts)), key=lambda index: list(contexts[index])):
        context = contexts[index]
        shared = common_length(last, context)
        new = range(len(tree.ids), len(tree.ids) + len(context) - shared)
        tree.ids.extend(context[shared:])
        tree.depths.extend(range(shared, len(context)))
        path = [*path[:shared], *new]
        tree.places[index].extend(path)
        last = context
    return tree


def within_budget(contexts: Sequence[Sequence[int]], budget: int) -> Iterator[list[int]]:
    """Yield groups of contexts (their indices) whose trees have at most ``budget`` tokens each.

    Contexts are taken in the order of their ids, so that those that share most stay together. A context
    that is over the budget by itself is a group of its own.
    """
    group: list[int] = []
    size = 0
    for index in sorted(range(len(contexts)), key=lambda index: list(contexts[index])):
        own = len(contexts[index])
        shared = common_length(contexts[group[-1]], contexts[index]) if group else 0
        if group and size + own - shared > budget:
            yield group
            group, size, shared = [], 0, 0
        group.append(index)
        size += own - shared
    if group:
        yield group


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two contexts share from their start."""
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length
