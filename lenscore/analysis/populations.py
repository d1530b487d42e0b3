"""Which answer tokens a curve averages: which of an answer's tokens, and of which answers at which positions."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from lenscore.extraction.token_class_names import CONTENT_CLASSES

CURVE_KEYS = ["model", "context_set", "lens", "condition", "n_documents"]
"""The columns that name a curve; along it, only the position of the gold document varies."""

SHAPE_KEYS = ["model", "context_set", "lens", "n_documents"]
"""The columns that name a curve whose shape is tested: contexts with documents, no controls."""

TOKEN_KEYS = ["question_id", "distractor_order", "answer_index"]
"""The columns that name an answer token of a curve, whatever the position of the gold document."""

WITH_POSITION = ("documents", "shuffled_gold")
"""The conditions whose contexts have a position."""


ANSWER_KEYS = ["model", "lens", "context_id"]
"""The columns that name an answer in one context."""


class Selection(NamedTuple):
    """A choice of answer tokens.

    Attributes:
        tokens: ``all`` tokens of an answer; its ``content`` tokens, which hold a letter or digit; or its ``first``
            content token (with ``analysis.first_token: any`` its first token of any kind).
        population: ``each_position``: at each position the tokens that are right there (the paper's, in which the
            tokens change with the position); ``every_position``: only the tokens that are right at every position of
            the curve, so that differences between positions cannot come from which tokens are right;
            ``first_right``: at each position the right tokens of the answers whose first token is right there, so
            that none continues what the model would not have begun; ``answer_right``: of the answers whose every
            token is right there, which are those that greedy decoding gives.
    """

    tokens: str
    population: str


TOKENS = ("all", "content", "first")
POPULATIONS = ("each_position", "every_position", "first_right", "answer_right")


def selections(depths: pd.DataFrame) -> Iterator[tuple[Selection, pd.DataFrame, pd.DataFrame]]:
    """Yield every selection of the answer tokens in contexts with a position.

    Of first tokens there are two populations only: those that are right at a position are the ``first_right`` ones, and
    one token is no whole answer.

    Args:
        depths: rows of view ``token_depths`` with ``first_index`` (the answer index of the answer's first token).

    Yields:
        The selection, its rows whose last layer is right, and its rows with or without a right last layer (for
        own-token refinement depth, which needs no right answer). With ``every_position`` and ``answer_right`` the two
        are the same.
    """
    placed = with_answers(depths[depths["condition"].isin(WITH_POSITION)])
    kept = {
        "all": placed,
        "content": placed[is_content(placed)],
        "first": placed[is_first(placed)],
    }
    for tokens in TOKENS:
        chosen = kept[tokens]
        yield Selection(tokens, "each_position"), chosen[chosen["final_right"]], chosen
        everywhere = right_at_every_position(chosen)
        yield Selection(tokens, "every_position"), everywhere, everywhere
        if tokens != "first":
            begun = chosen[chosen["first_right"]]
            yield Selection(tokens, "first_right"), begun[begun["final_right"]], begun
            whole = chosen[chosen["answer_right"]]
            yield Selection(tokens, "answer_right"), whole, whole


def is_content(depths: pd.DataFrame) -> pd.Series:
    """Return which rows are content tokens: they hold a letter or digit."""
    return depths["token_class"].isin(CONTENT_CLASSES)


def is_first(depths: pd.DataFrame) -> pd.Series:
    """Return which rows are the first token of their answer, by ``first_index``; none if the answer has none."""
    return depths["answer_index"] == depths["first_index"]


def with_answers(depths: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with ``first_right`` and ``answer_right``.

    They say of the answer that a token is in whether, in that context, its first token is right, and whether every
    token is.
    """
    answer = [depths[key] for key in ANSWER_KEYS]
    right = depths["final_right"].astype(bool)
    return depths.assign(
        first_right=(right & is_first(depths)).groupby(answer).transform("any").astype(bool),
        answer_right=right.groupby(answer).transform("all").astype(bool),
    )


def right_at_every_position(depths: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the answer tokens that the last layer gets right at every position of their curve."""
    if depths.empty:
        return depths
    n_positions = depths.groupby(CURVE_KEYS)["gold_index"].transform("nunique")
    n_right = depths["final_right"].groupby([depths[key] for key in [*CURVE_KEYS, *TOKEN_KEYS]]).transform("sum")
    return depths[n_right == n_positions]
