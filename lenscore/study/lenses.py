"""Sections ``lenses`` and ``tuned_lens``: the lenses that there are, and how one is trained."""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from lenscore.study.section import Section


class LensEntry(NamedTuple):
    """One lens that a study can name.

    Attributes:
        module: has ``load`` (:class:`lenscore.lenses.registry.LensModule`).
        training: module that has ``train`` (:class:`lenscore.lenses.registry.TrainingModule`); None for a lens that
            is not trained.
    """

    module: str
    training: str | None = None


LENSES: Mapping[str, LensEntry] = {
    "logit": LensEntry("lenscore.lenses.logit"),
    "tuned": LensEntry("lenscore.lenses.tuned", training="lenscore.lenses.training"),
}


def _known(name: str) -> str:
    if name not in LENSES:
        raise PydanticCustomError("lens", "must be {known}", {"known": " or ".join(LENSES)})
    return name


LensName = Annotated[str, AfterValidator(_known), WithJsonSchema({"enum": list(LENSES), "type": "string"})]


class TunedLensSpec(Section):
    """How the tuned lens is trained, where ``lenses`` names it."""

    questions: int = Field(default=200, ge=1, description="Gold documents to train on, of questions outside the study.")
    held_out: int = Field(
        default=50,
        ge=2,
        description="Gold documents held out: half of them say when to stop, half measure the lens.",
    )
    tokens_per_document: int = Field(default=32, ge=1, description="Tokens drawn of each document.")
    steps: int = Field(default=32, ge=0, description="Most steps of gradient descent, after least squares.")
    batch: int = Field(default=256, ge=1, description="Tokens a step.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Of Adam at the first step; falls to 0 at the last.")
    seed: int = Field(default=0, ge=0, description="Draws tokens and batches.")
