"""The tuned lens: an affine translator per layer before the model's own unembedding (Belrose et al. 2023)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lenscore.errors import SourceError
from lenscore.files import sha256_of_file, write_json, written_whole
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

    def to(self, device: torch.device) -> "Translators":
        """Return the translators on a device."""
        return Translators(self.weights.to(device), self.biases.to(device))

    def translate(self, states: Float[Tensor, "*rows width"], layer: int) -> Float[Tensor, "*rows width"]:
        """Return what the unembedding is to read of a layer's states, in their own precision; layer L's as they are."""
        if layer == self.n_layers:
            return states
        own = states.float()
        return (own + own @ self.weights[layer] + self.biases[layer]).to(states.dtype)

    def save(self, file: Path, facts: Mapping[str, Any]) -> None:
        """Write safetensors, and beside them ``facts`` with the file's SHA-256, as ``<name>.json``."""
        with written_whole(file) as beside:
            save_file({"weights": self.weights.contiguous(), "biases": self.biases.contiguous()}, beside)
        write_json(file.with_suffix(".json"), {**facts, "sha256": sha256_of_file(file)})

    @classmethod
    def load(cls, file: Path, n_layers: int, width: int) -> "Translators":
        """Read what :meth:`save` has written.

        Args:
            file: the safetensors.
            n_layers: L of the model that they are for.
            width: of its residual stream.

        Raises:
            SourceError: the file is missing, not what its manifest says, or for a model of another shape.
        """
        advice = "train the lens anew (delete the file, or force rule train_lens)"
        try:
            manifest = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
            found = sha256_of_file(file)
            if found != manifest["sha256"]:
                raise SourceError(f"{file}: its SHA-256 is {found}, in its manifest {manifest['sha256']}; {advice}")
            tensors = load_file(file)
            translators = cls(tensors["weights"], tensors["biases"])
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise SourceError(f"{file}: no tuned lens ({type(error).__name__}: {error}); {advice}") from error
        shape = tuple(translators.weights.shape)
        if shape != (n_layers, width, width) or tuple(translators.biases.shape) != (n_layers, width):
            raise SourceError(
                f"{file}: translators of shape {shape}, but the model has {n_layers} blocks of width {width}; {advice}"
            )
        return translators


@dataclass(frozen=True)
class TunedLens:
    """Translators, then the model's own unembedding. At layer L it is the model."""

    unembedding: Unembedding
    translators: Translators

    def translate(self, states: Float[Tensor, "*rows width"], layer: int) -> Float[Tensor, "*rows width"]:
        """Return the translated states."""
        return self.translators.translate(states, layer)
