"""Depth by group of answer tokens: frequency and class of the token, place in the answer, kind of answer.

Asks the questions of Gupta et al. 2025, "How Do LLMs Use Their Depth?" (arXiv 2510.18871), about answers in contexts.
"""

from functools import partial

import numpy as np
import pandas as pd

from lenscore.analysis.answer_kinds import KINDS, answer_kind
from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.means import means_with_intervals
from lenscore.analysis.pooling import ALL_CONTEXTS, PER_N_DOCUMENTS, at_pooling_levels
from lenscore.extraction.token_class_names import TOKEN_CLASSES

# By the token's rank among all tokens of the study's documents; rank 1 is the most frequent.
BANDS = ("rank 1–10", "rank 11–100", "rank 101–1,000", "rank over 1,000")
_BAND_ENDS = (0, 10, 100, 1000, float("inf"))
# The answer's first token, the spaces and punctuation before it, and the rest.
PLACES = ("leading", "first", "later")

GROUPINGS: dict[str, tuple[str, ...]] = {
    "all": ("all",),
    "frequency_band": BANDS,
    "token_class": TOKEN_CLASSES,
    "place_in_answer": PLACES,
    "answer_kind": KINDS,
}
MEASURES = (
    "accuracy", "refinement_depth", "first_correct_layer", "settled_layer", "soft_depth", "lost_again", "n_lost",
    "own_token_refinement_depth", "own_token_soft_depth",
)  # fmt: skip

_KEYS = ["model", "context_set", "lens"]


def frequency_band(ranks: pd.Series) -> pd.Series:
    """Return the band of each rank; a token that occurs in no document (null) is in the rarest band."""
    return pd.cut(ranks.fillna(_BAND_ENDS[-2] + 1), list(_BAND_ENDS), labels=list(BANDS)).astype(str)


def place_in_answer(tokens: pd.DataFrame) -> pd.Series:
    """Return each token's place, of ``PLACES``; in an answer without a first token, all are ``leading``."""
    after = tokens["answer_index"] - tokens["first_index"].astype(float).fillna(np.inf)
    return np.sign(after).map(dict(zip((-1, 0, 1), PLACES, strict=True)))


def depth_by_group(tokens: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return accuracy, depths and flips by group of answer tokens, in contexts with documents.

    Args:
        tokens: rows of view ``token_depths`` with ``first_index`` (the answer index of the answer's first token),
            ``answer`` (the text), ``frequency_rank`` (of the target token
            among the tokens of the study's documents; null if it does not occur) and ``n_lost`` (how many times
            the token is the top-1 at a layer and not at the next).
        bootstrap: gives the intervals.

    Returns:
        One row a model × context set × lens × ``grouping`` × ``group`` × ``measure``, over all contexts
        (``n_documents`` null) and for each number of documents, with ``mean``, ``low``, ``high``, ``n_questions`` and
        ``n_tokens``. ``accuracy`` and the depths of the model's own token are over all answer tokens; refinement and
        soft depth, first-correct and settled layer over those that layer L gets right; ``lost_again`` (the share that
        is lost at least once) and ``n_lost`` (how often) over those that are right at some layer.
    """
    placed = tokens[tokens["condition"] == "documents"]
    right = placed["final_right"]
    ever = placed["first_correct_layer"].notna()
    values = placed.assign(
        accuracy=right.astype(float),
        lost_again=(placed["n_lost"] > 0).astype(float).where(ever),
        n_lost=placed["n_lost"].astype(float).where(ever),
        first_correct_layer=placed["first_correct_layer"].where(right),
        all="all",
        frequency_band=frequency_band(placed["frequency_rank"]),
        place_in_answer=place_in_answer(placed),
        answer_kind=placed["answer"].map({answer: answer_kind(answer) for answer in placed["answer"].unique()}),
    )
    parts = [
        at_pooling_levels(partial(_means, values, measure, grouping, bootstrap), ALL_CONTEXTS, PER_N_DOCUMENTS)
        .rename(columns={grouping: "group"})
        .assign(grouping=grouping)
        for grouping in GROUPINGS
        for measure in MEASURES
    ]
    table = pd.concat(parts, ignore_index=True)
    group_order = [group for groups in GROUPINGS.values() for group in groups]
    order = table.assign(
        _grouping=table["grouping"].map(list(GROUPINGS).index),
        _group=table["group"].map(group_order.index),
        _measure=table["measure"].map(MEASURES.index),
    ).sort_values([*_KEYS, "n_documents", "_grouping", "_group", "_measure"], na_position="first")
    return order[
        [*_KEYS, "n_documents", "grouping", "group", "measure", "mean", "low", "high", "n_questions", "n_tokens"]
    ].reset_index(drop=True)


def _means(values: pd.DataFrame, measure: str, grouping: str, bootstrap: Bootstrap, level: list[str]) -> pd.DataFrame:
    return means_with_intervals(values, measure, _KEYS, [*level, grouping], bootstrap)
