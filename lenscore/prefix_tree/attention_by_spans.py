"""Attention over a tree, once for each run of tokens that follow one another, to a cache that is indexed by depth."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lenscore.prefix_tree.attention import Chunk, Keys, Queries, ScoreParameters, Values
from lenscore.prefix_tree.key_value_cache import KeyValueCache
from lenscore.prefix_tree.tree import ContextTree


@dataclass(frozen=True)
class _Span:
    """Tokens of a chunk of which each follows the one before it.

    Attributes:
        rows: their rows in the chunk.
        depths: their depths.
        asked_rows: rows in the chunk of those that are asked for.
        asked_depths: the depths of these.
    """

    rows: slice
    depths: range
    asked_rows: slice | Tensor
    asked_depths: Sequence[int]


class AttentionBySpans:
    """Attention over a tree, span by span (:class:`lenscore.prefix_tree.attention.TreeAttention`)."""

    def __init__(self, tree: ContextTree, chunks: Sequence[Chunk], device: torch.device):
        self._spans = [list(_spans(tree, chunk, device)) for chunk in chunks]
        self._n_depths = max(tree.depths) + 1
        self._cache: KeyValueCache | None = None  # one for all blocks whose heads are alike

    def attend(
        self, chunk: int, query: Queries, key: Keys, value: Values, scores: ScoreParameters, asked_only: bool
    ) -> Float[Tensor, "attending heads value_width"]:
        """Store keys and values of a chunk and attend; see :class:`lenscore.prefix_tree.attention.TreeAttention`."""
        if self._cache is None or not self._cache.fits(key, value):
            self._cache = KeyValueCache(key, value, self._n_depths)
        spans = self._spans[chunk]
        attending = [(span.asked_rows, span.asked_depths) if asked_only else (span.rows, span.depths) for span in spans]
        sizes = [len(depths) for _, depths in attending]
        output = query.new_empty((sum(sizes), query.shape[0], value.shape[2]))
        for span, (rows, depths), of_span in zip(spans, attending, output.split(sizes), strict=True):
            self._cache.write(span.depths[0], key[:, span.rows], value[:, span.rows])
            if depths:
                self._cache.attend(query[:, rows], depths, scores, of_span.transpose(0, 1))
        return output


def _spans(tree: ContextTree, chunk: Chunk, device: torch.device) -> Iterator[_Span]:
    start = chunk.places.start
    for first, stop in tree.spans(start, chunk.places.stop):
        asked = chunk.asked[bisect_left(chunk.asked, first) : bisect_left(chunk.asked, stop)]
        asked_rows: slice | Tensor
        if asked and asked[-1] - asked[0] == len(asked) - 1:  # one run, as most answers are: nothing is copied
            asked_rows = slice(asked[0] - start, asked[-1] + 1 - start)
        else:
            asked_rows = torch.tensor([place - start for place in asked], dtype=torch.long, device=device)
        yield _Span(
            rows=slice(first - start, stop - start),
            depths=range(tree.depths[first], tree.depths[stop - 1] + 1),
            asked_rows=asked_rows,
            asked_depths=[tree.depths[place] for place in asked],
        )
