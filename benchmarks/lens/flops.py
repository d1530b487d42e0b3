"""The least number of floating-point operations that a lens over a question's contexts takes.

Counts what every implementation must compute, for a model with Llama's blocks (grouped queries, a gated MLP):

- every token that contexts of a question share is computed once;
- of the last block all tokens' keys and values are needed, the rest of it at the predicting positions alone;
- a query is multiplied by the keys that it sees, not by those that a mask hides;
- the head projects the predicting positions' states of layers 0 to L.

A multiplication and an addition are two operations. Norms, softmax, activations and rotations, well under a
hundredth, are not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from transformers import PreTrainedConfig

from benchmarks.lens.exchange import Context, Questions
from lenscore.prefix_tree.tree import build_tree


@dataclass(frozen=True)
class LlamaShape:
    """The sizes of a Llama-like model's matrices."""

    layers: int
    width: int
    heads: int
    groups: int
    head_width: int
    mlp_width: int
    vocabulary: int

    @classmethod
    def of(cls, config: PreTrainedConfig) -> Self:
        """Read them from a model's config."""
        return cls(
            layers=config.num_hidden_layers,
            width=config.hidden_size,
            heads=config.num_attention_heads,
            groups=config.num_key_value_heads,
            head_width=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
            mlp_width=config.intermediate_size,
            vocabulary=config.vocab_size,
        )

    @property
    def keys_and_values(self) -> int:
        """Operations of a token's key and value projections in a block."""
        return 2 * self.width * 2 * self.groups * self.head_width

    @property
    def other_linears(self) -> int:
        """Operations of a token's query and output projections and its MLP in a block."""
        return 2 * self.width * (2 * self.heads * self.head_width + 3 * self.mlp_width)

    @property
    def per_visible_key(self) -> int:
        """Operations of a query, all heads together, for each key that it sees: its score, and its value's share."""
        return 4 * self.heads * self.head_width

    @property
    def head(self) -> int:
        """Operations of one projection onto the vocabulary."""
        return 2 * self.width * self.vocabulary


@dataclass(frozen=True)
class Tokens:
    """The tokens and keys of a workload, on which the operations depend. Those of two workloads can be added.

    Attributes:
        read: tokens that the model reads, of all contexts.
        unique: those that differ in themselves or in a token before them: what is left where prefixes are shared.
        predicting: unique tokens whose states predict an answer token.
        visible: keys that the unique tokens' queries see.
        visible_to_predicting: keys that the queries of the predicting tokens see.
    """

    read: int = 0
    unique: int = 0
    predicting: int = 0
    visible: int = 0
    visible_to_predicting: int = 0

    @classmethod
    def of_workload(cls, questions: Questions) -> "Tokens":
        """Count the tokens of a workload."""
        return sum(map(cls._of_question, questions), start=cls())

    @classmethod
    def _of_question(cls, contexts: Sequence[Context]) -> "Tokens":
        tree = build_tree([context.input_ids for context in contexts])
        predicting = {
            places[position]
            for context, places in zip(contexts, tree.places, strict=True)
            for position in context.predicting
        }
        # A token sees itself and one token at every lower depth.
        return cls(
            read=sum(len(context.input_ids) for context in contexts),
            unique=len(tree.ids),
            predicting=len(predicting),
            visible=sum(depth + 1 for depth in tree.depths),
            visible_to_predicting=sum(tree.depths[place] + 1 for place in predicting),
        )

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(
            self.read + other.read,
            self.unique + other.unique,
            self.predicting + other.predicting,
            self.visible + other.visible,
            self.visible_to_predicting + other.visible_to_predicting,
        )


def lens_flops(shape: LlamaShape, tokens: Tokens) -> int:
    """Return the operations of a logit lens over every layer."""
    block = tokens.unique * (shape.keys_and_values + shape.other_linears) + tokens.visible * shape.per_visible_key
    last_block = (
        tokens.unique * shape.keys_and_values
        + tokens.predicting * shape.other_linears
        + tokens.visible_to_predicting * shape.per_visible_key
    )
    decoding = tokens.predicting * (shape.layers + 1) * shape.head
    return (shape.layers - 1) * block + last_block + decoding
