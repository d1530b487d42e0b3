"""Which answer tokens a curve averages: all or only first ones, each position's own or the same at every position."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

CURVE_KEYS = ["model", "context_set", "lens", "condition", "n_documents"]
"""The columns that name a curve; along it, only the position of the gold document varies."""

SHAPE_KEYS = ["model", "context_set", "lens", "n_documents"]
"""The columns that name a curve whose shape is tested: contexts with documents, no controls."""

TOKEN_KEYS = ["question_id", "distractor_order", "answer_index"]
"""The columns that name an answer token of a curve, whatever the position of the gold document."""

WITH_POSITION = ("documents", "shuffled_gold")
"""The conditions whose contexts have a position."""


class Selection(NamedTuple):
    """A choice of answer tokens.

    Attributes:
        tokens: ``all`` tokens of an answer, or only its ``first``.
        population: ``each_position``: at each position the tokens that are right there (the paper's, in which the
            tokens change with the position); ``every_position``: only the tokens that are right at every position of
            the curve, so that differences between positions cannot come from which tokens are right.
    """

    tokens: str
    population: str


TOKENS = ("all", "first")
POPULATIONS = ("each_position", "every_position")
HEADLINE = Selection("all", "each_position")


def headline_of(shapes: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the headline variant, the paper's."""
    return shapes[
        (shapes["measure"] == "refinement_depth")
        & (shapes["tokens"] == HEADLINE.tokens)
        & (shapes["population"] == HEADLINE.population)
    ]


def selections(depths: pd.DataFrame) -> Iterator[tuple[Selection, pd.DataFrame, pd.DataFrame]]:
    """Yield every selection of the answer tokens in contexts with a position.

    Args:
        depths: rows of view ``token_depths``.

    Yields:
        The selection, its rows whose last layer is right, and its rows with or without a right last layer (for
        own-token refinement depth, which needs no right answer). With ``every_position`` the two are the same.
    """
    placed = depths[depths["condition"].isin(WITH_POSITION)]
    for tokens in TOKENS:
        chosen = placed if tokens == "all" else placed[placed["answer_index"] == 0]
        right = chosen[chosen["final_right"]]
        yield Selection(tokens, "each_position"), right, chosen
        everywhere = right_at_every_position(chosen)
        yield Selection(tokens, "every_position"), everywhere, everywhere


def right_at_every_position(depths: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the answer tokens that the last layer gets right at every position of their curve."""
    if depths.empty:
        return depths
    n_positions = depths.groupby(CURVE_KEYS)["gold_index"].transform("nunique")
    n_right = depths["final_right"].groupby([depths[key] for key in [*CURVE_KEYS, *TOKEN_KEYS]]).transform("sum")
    return depths[n_right == n_positions]
