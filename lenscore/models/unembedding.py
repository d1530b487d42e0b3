"""The model's own map from its last residual state to the logits, applied to the state of any layer."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lenscore.models.architecture import Architecture


@dataclass(frozen=True)
class Unembedding:
    """Final norm (its statistics taken from the state itself), projection, head with bias, scale, soft cap."""

    norm: nn.Module | None
    projection: nn.Module | None
    head: nn.Module
    head_dtype: torch.dtype
    logit_scale: float
    soft_cap: float | None

    @classmethod
    def of(cls, architecture: Architecture) -> "Unembedding":
        """Return the unembedding of a model's parts."""
        return cls(
            norm=architecture.final_norm,
            projection=architecture.projection,
            head=architecture.head,
            head_dtype=architecture.head_dtype,
            logit_scale=architecture.logit_scale,
            soft_cap=architecture.soft_cap,
        )

    def __call__(self, states: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows vocabulary"]:
        """Return the logits of residual states, in float32 whatever the model's precision.

        At layer L these are the model's own logits (nostalgebraist 2020, the logit lens).
        """
        for part in (self.norm, self.projection):
            if part is not None:
                states = part(states)
        logits: Tensor = self.head(states.to(self.head_dtype))
        if self.logit_scale != 1.0:
            logits = logits * self.logit_scale
        if self.soft_cap is not None:
            logits = self.soft_cap * torch.tanh(logits / self.soft_cap)
        return logits.float()
