"""What attention over a tree of contexts takes and returns. There are two implementations.

``sdpa`` (``attention_by_spans``) goes through the tokens that follow one another, with keys stored by depth.
``flex`` (``attention_by_tree``) takes all tokens of a chunk at once, with keys stored by place, and a block mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

AttentionKind = Literal["sdpa", "flex"]

Queries = Float[Tensor, "heads tokens width"]
Keys = Float[Tensor, "groups tokens width"]
Values = Float[Tensor, "groups tokens value_width"]


@dataclass(frozen=True)
class ScoreParameters:
    """How attention scores are computed from the products of queries and keys.

    Attributes:
        scale: multiplies the products.
        window: how many of the last keys a query sees, its own included; None for all.
        soft_cap: c in c·tanh(score / c), applied to the scaled scores; None where there is none.
    """

    scale: float
    window: int | None = None
    soft_cap: float | None = None


@dataclass(frozen=True)
class Chunk:
    """Tokens that go through a block together.

    Attributes:
        places: their places in the tree.
        asked: the places among them whose states are asked for, rising.
    """

    places: range
    asked: Sequence[int]

    @property
    def rows(self) -> slice:
        """The places, to take rows of tensors that have one for each token of the tree."""
        return slice(self.places.start, self.places.stop)


@runtime_checkable
class TreeAttention(Protocol):
    """Attention of a tree's tokens, each to its own context. Made for one tree, its chunks and a device."""

    def attend(
        self, chunk: int, query: Queries, key: Keys, value: Values, scores: ScoreParameters, asked_only: bool
    ) -> Float[Tensor, "attending heads value_width"]:
        """Store the keys and values of a chunk's tokens, and return attention's output for its tokens.

        In each block of the model the chunks come in the tree's order, from the first.

        Args:
            chunk: index of the chunk.
            query: of all tokens of the chunk, as are ``key`` and ``value``.
            key: one group of heads reads the same keys.
            value: the same.
            scores: how scores are computed.
            asked_only: attend from the asked tokens alone.
        """
