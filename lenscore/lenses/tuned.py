"""The tuned lens: an affine translator per layer before the model's own unembedding (Belrose et al. 2023)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from lenscore.lenses.files import read_lens, wrong_tensors
from lenscore.models.loading import LoadedModel
from lenscore.models.unembedding import Unembedding


@dataclass(frozen=True)
class Translators:
    """The affine translators of layers 0 to L − 1: h ↦ h + h·A + b (arXiv 2303.08112, eq. 7). Float32.

    Attributes:
        weights: A of each layer.
        biases: b of each layer.
    """

    weights: Float[Tensor, "layers width width"]
    biases: Float[Tensor, "layers width"]

    @property
    def n_layers(self) -> int:
        """L: the layers that have a translator."""
        return len(self.weights)

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors as they stand in the lens's file."""
        return {"weights": self.weights, "biases": self.biases}

    def to(self, device: torch.device) -> "Translators":
        """Return the translators on a device."""
        return Translators(self.weights.to(device), self.biases.to(device))

    def translate(self, states: Float[Tensor, "*rows width"], layer: int) -> Float[Tensor, "*rows width"]:
        """Return a layer's translated states, in their own precision; those of layer L as they are."""
        if layer == self.n_layers:
            return states
        own = states.float()
        return (own + own @ self.weights[layer] + self.biases[layer]).to(states.dtype)


@dataclass(frozen=True)
class TunedLens:
    """Translators, then the model's own unembedding. At layer L it is the model."""

    unembedding: Unembedding
    translators: Translators

    def translate(self, states: Float[Tensor, "*rows width"], layer: int) -> Float[Tensor, "*rows width"]:
        """Return the translated states."""
        return self.translators.translate(states, layer)


def load(model: LoadedModel, model_folder: Path, file: Path | None) -> TunedLens:
    """Return the tuned lens that a training has written for a model.

    Raises:
        SourceError: the file is no lens of this model.
    """
    assert file is not None, "the tuned lens is trained: it has a file"
    tensors = read_lens(file, model_folder)
    shapes = {name: tuple(tensor.shape) for name, tensor in sorted(tensors.items())}
    wanted = {"biases": (model.n_layers, model.width), "weights": (model.n_layers, model.width, model.width)}
    if shapes != wanted:
        raise wrong_tensors(file, f"has tensors of shapes {shapes}; the model needs {wanted}")
    return TunedLens(model.unembedding, Translators(tensors["weights"], tensors["biases"]).to(model.device))
