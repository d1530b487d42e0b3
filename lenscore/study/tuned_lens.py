"""Section ``tuned_lens``: how a lens is trained, where ``lenses`` names one that is."""

from pydantic import Field

from lenscore.study.section import MOST_QUESTIONS, Section, Seed


class TunedLensSpec(Section):
    """How the tuned lens is trained, where ``lenses`` names it."""

    questions: int = Field(
        default=200,
        ge=1,
        le=MOST_QUESTIONS,
        description="Gold documents to train on, of questions outside the study.",
    )
    held_out: int = Field(
        default=50,
        ge=2,
        le=MOST_QUESTIONS,
        description="Gold documents held out: half of them say when to stop, half measure the lens.",
    )
    tokens_per_document: int = Field(default=32, ge=1, le=100_000, description="Tokens sampled from each document.")
    steps: int = Field(
        default=32,
        ge=0,
        le=1_000_000,
        description="Most steps of gradient descent, after least squares.",
    )
    batch: int = Field(default=256, ge=1, le=1_000_000, description="Tokens a step.")
    learning_rate: float = Field(
        default=1e-3,
        gt=0,
        le=100,
        description="Of Adam at the first step; falls to 0 at the last.",
    )
    seed: Seed = Field(default=0, description="Seed of the choice of tokens and batches.")
    seeds: int = Field(
        default=1,
        ge=1,
        le=20,
        description="Times the lens is trained, with the seed and those after it, to see how far its KL depends on the "
        "seed; the study's lens is the first.",
    )
