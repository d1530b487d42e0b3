"""Section ``lenses``: the lenses that there are, by the names that a study gives them."""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError


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
    "trimmed": LensEntry("lenscore.lenses.trimmed"),
}


def _known(name: str) -> str:
    if name not in LENSES:
        raise PydanticCustomError("lens", "must be one of {known}", {"known": ", ".join(LENSES)})
    return name


LensName = Annotated[str, AfterValidator(_known), WithJsonSchema({"enum": list(LENSES), "type": "string"})]
