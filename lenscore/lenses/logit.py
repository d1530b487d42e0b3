"""The logit lens: the model's own unembedding at every layer (nostalgebraist 2020)."""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from lenscore.models.loading import LoadedModel
from lenscore.models.unembedding import Unembedding


@dataclass(frozen=True)
class LogitLens:
    """The model's own unembedding at every layer: nothing is translated."""

    unembedding: Unembedding

    def translate(self, states: Float[Tensor, "*rows width"], layer: int) -> Float[Tensor, "*rows width"]:
        """Return the states as they are."""
        return states


def load(model: LoadedModel, model_folder: Path, file: Path | None) -> LogitLens:
    """Return the lens of a model; it has no file."""
    return LogitLens(model.unembedding)
