"""Section ``ablation``: which blocks' contributions are taken away, and in which contexts."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lenscore.study.section import MOST_DOCUMENTS, MOST_QUESTIONS, Section, impossible

# What replaces an ablated block's contribution to the residual stream, and at which tokens.
Replacement = Literal["skip", "mean", "resample"]
Scope = Literal["all", "answer", "documents", "gold", "examples", "question"]
# The scopes that are parts of the prompt.
PARTS: tuple[Literal["documents", "gold", "examples", "question"], ...] = ("documents", "gold", "examples", "question")


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
        description="skip: the block adds nothing; mean: it adds its mean over a reference set; resample: it adds "
        "what it adds at the same token of the same context with another document in the gold one's place "
        "(controls: [shuffled_gold], scopes: [answer]).",
    )
    scopes: list[Scope] = Field(
        default=["all", "answer"],
        min_length=1,
        description="all: at every token; answer: at the tokens that predict the answer alone; documents, gold, "
        "examples, question: at the tokens of that part of the prompt.",
    )
    reference: int = Field(
        default=8,
        ge=1,
        le=MOST_QUESTIONS,
        description="The study's first questions, over whose contexts the mean is taken.",
    )

    @model_validator(mode="after")
    def _aligned(self) -> "AblationSpec":
        if "resample" in self.replacements and self.scopes != ["answer"]:
            raise impossible(
                "scopes",
                "must be [answer] where replacements has resample: the documents of the two contexts differ in length, "
                "so that the answer's tokens alone have a token in the other context that corresponds to them",
            )
        return self
