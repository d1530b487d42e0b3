"""Section ``ablation``: which blocks' contributions are taken away, and in which contexts."""

from typing import Annotated, Literal

from pydantic import Field

from lenscore.study.section import MOST_DOCUMENTS, MOST_QUESTIONS, Section

# What replaces an ablated block's contribution to the residual stream, and at which tokens.
Replacement = Literal["skip", "mean"]
Scope = Literal["all", "answer"]


class AblationSpec(Section):
    """Which blocks' contributions are taken away, and in which contexts; nothing is ablated without questions."""

    questions: int = Field(
        default=0,
        ge=0,
        le=MOST_QUESTIONS,
        description="The study's first n questions; 0 for no ablation.",
    )
    documents: list[Annotated[int, Field(ge=1, le=MOST_DOCUMENTS)]] | None = Field(
        default=None, description="Numbers of documents of the contexts; null for all of the context set's."
    )
    replacements: list[Replacement] = Field(
        default=["skip"],
        min_length=1,
        description="skip: the block adds nothing; mean: it adds its mean over a reference set.",
    )
    scopes: list[Scope] = Field(
        default=["all", "answer"],
        min_length=1,
        description="all: at every token; answer: at the tokens that predict the answer alone.",
    )
    reference: int = Field(
        default=8,
        ge=1,
        le=MOST_QUESTIONS,
        description="The study's first questions, over whose contexts the mean is taken.",
    )
