"""What a lens is."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from lenscore.models.unembedding import Unembedding


@runtime_checkable
class Lens(Protocol):
    """A translation of each layer's residual states, followed by the model's own unembedding.

    At the last layer the translation is the identity, so that the lens is the model.
    """

    @property
    def unembedding(self) -> Unembedding:
        """The model's own map from residual states to logits."""

    def translate(self, states: Float[Tensor, "*rows width"], layer: int) -> Float[Tensor, "*rows width"]:
        """Return the translated states of ``layer`` (0: the embedding output), ready for the unembedding."""
