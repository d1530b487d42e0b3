"""What a lens is, and the logit lens."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from lenscore.lenses.decoder import Decoder


@runtime_checkable
class Lens(Protocol):
    """A translation of each layer's residual states, followed by the model's own decoder.

    At the last layer the translation is the identity, so that the lens is the model.
    """

    @property
    def decoder(self) -> Decoder:
        """The model's own way from residual states to logits."""

    def translate(self, states: Float[Tensor, "*rows width"], layer: int) -> Float[Tensor, "*rows width"]:
        """Return what the decoder is to read of ``states``, which are of ``layer`` (0 the embedding output)."""


@dataclass(frozen=True)
class LogitLens:
    """The model's own decoder at every layer (nostalgebraist 2020): nothing is translated."""

    decoder: Decoder

    def translate(self, states: Float[Tensor, "*rows width"], layer: int) -> Float[Tensor, "*rows width"]:
        """Return the states as they are."""
        return states
