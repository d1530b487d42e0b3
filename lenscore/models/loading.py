"""A model with its parts, as one object."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lenscore.jobs.spent import spent_on
from lenscore.models.architecture import Architecture, find_architecture, model_name
from lenscore.models.unembedding import Unembedding
from lenscore.sources.pretrained import load_weights


@dataclass(frozen=True)
class LoadedModel:
    """A causal language model on its device, and where its parts are.

    Attributes:
        model: the model as ``transformers`` knows it.
        architecture: its parts. They are right as long as no module of the model is replaced.
    """

    model: PreTrainedModel
    architecture: Architecture

    @classmethod
    def of(cls, model: PreTrainedModel) -> "LoadedModel":
        """Find a model's parts.

        Raises:
            ArchitectureError: a part was not found.
        """
        return cls(model, find_architecture(model))

    @property
    def name(self) -> str:
        """How messages name it: its class and the family in its config."""
        return model_name(self.model)

    @property
    def n_layers(self) -> int:
        """L, the number of blocks."""
        return len(self.architecture.blocks)

    @property
    def width(self) -> int:
        """The width of the residual stream."""
        width: int = self.model.config.get_text_config().hidden_size
        return width

    @property
    def vocabulary_size(self) -> int:
        """The number of token ids, according to the config."""
        size: int = self.model.config.get_text_config().vocab_size
        return size

    @property
    def n_embeddings(self) -> int:
        """The number of token ids that it can read."""
        return len(next(self.model.get_input_embeddings().parameters()))

    @property
    def n_positions(self) -> int | None:
        """The most tokens of a context; None where the config sets no limit."""
        n_positions: int | None = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return n_positions

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of its weights and states."""
        return self.model.dtype

    @property
    def unembedding(self) -> Unembedding:
        """The model's own map from residual states to logits."""
        return Unembedding.of(self.architecture)

    def run_blocks(self, **inputs: Tensor) -> None:
        """Run the model without its head over one sequence. Hooks and patches on its blocks read the states.

        Args:
            inputs: the backbone's arguments, of shape (1, tokens): ``input_ids``, and others if need be.
        """
        with spent_on("model", self.device):
            self.architecture.backbone(**inputs, use_cache=False)


def load_model(folder: Path, dtype: str, device: str) -> LoadedModel:
    """Load a model's safetensors for inference.

    Args:
        folder: safetensors and config.
        dtype: a floating-point type of PyTorch, by name.
        device: ``cpu`` or ``cuda`` (:func:`lenscore.models.device.resolve_device`).

    Raises:
        SourceError: the model cannot be built, or its weights are not exactly those that it needs.
        ArchitectureError: a part of the model was not found.
    """
    model = load_weights(folder, getattr(torch, dtype), device)
    model.eval()
    return LoadedModel.of(model)
