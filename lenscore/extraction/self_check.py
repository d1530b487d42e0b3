"""What is computed here must be what the model computes: proved in every job before it records anything."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from lenscore.errors import SelfCheckError
from lenscore.extraction.tokens import TokenisedContext
from lenscore.models.architecture import Architecture
from lenscore.models.residuals import own_states_and_logits
from lenscore.models.unembedding import Unembedding

# Largest difference allowed, as a share of the magnitude: some hundred units in the last place, since
# the model multiplies its matrices in other shapes.
_TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}


@dataclass(frozen=True)
class OwnPass:
    """What the model itself gives for one context at its predicting positions.

    Attributes:
        model: how messages name it.
        context: what was run.
        states: layers 0 to L.
        logits: in float32.
        allowed: largest difference that rounding explains, as a share of the magnitude.
    """

    model: str
    context: TokenisedContext
    states: Float[Tensor, "layers positions width"]
    logits: Float[Tensor, "positions vocabulary"]
    allowed: float

    @classmethod
    def of(cls, model: PreTrainedModel, architecture: Architecture, context: TokenisedContext) -> "OwnPass":
        """Run the model by its own code: with its own linear layers and its own attention."""
        ids = torch.tensor([context.ids], device=model.device)
        positions = torch.tensor(context.predicting_positions, device=model.device)
        states, logits = own_states_and_logits(model, architecture, ids, positions)
        name = f"{type(model).__name__} (model_type {model.config.model_type})"
        return cls(name, context, states, logits, _TOLERANCE[model.dtype])

    def check_last_layer(self, unembedding: Unembedding, states: Float[Tensor, "layers positions width"]) -> float:
        """Compare the decoded states of layer L with the model's own logits.

        Returns:
            The largest absolute difference of a logit.

        Raises:
            SelfCheckError: it is larger than rounding explains.
        """
        with torch.inference_mode():
            decoded = unembedding(states[-1])
        if decoded.shape != self.logits.shape:
            raise SelfCheckError(
                self._message(f"its logits have shape {tuple(self.logits.shape)}, the lens's {tuple(decoded.shape)}")
            )
        difference = (decoded - self.logits).abs().max().item()
        allowed = self.allowed * self.logits.abs().max().item()
        if not difference <= allowed:  # a NaN fails too
            raise SelfCheckError(
                self._message(f"they differ by up to {difference:.3g} where rounding explains {allowed:.1g}")
            )
        return difference

    def _message(self, fault: str) -> str:
        return (
            f"{self.model}: the lens at the last layer does not give the model's own logits: {fault}. Likely causes: "
            "another head than the one found, a missing logit scale or soft cap, a final norm applied twice or not at "
            "all; see docs/architectures.md"
        )


def difference(
    states: Float[Tensor, "layers positions width"], reference: Float[Tensor, "layers positions width"], rounded: bool
) -> str | None:
    """Say by how much states differ from the reference; None where rounding explains it.

    Each state is compared by itself, by its norm: dimensions and positions differ in size by orders of magnitude.

    Args:
        states: what was found.
        reference: what it should be.
        rounded: matrices were multiplied in bfloat16, whatever precision the states are in.
    """
    apart = (states - reference).float().norm(dim=-1) / reference.float().norm(dim=-1)
    largest = apart.max().item()
    allowed = _TOLERANCE[torch.bfloat16 if rounded else reference.dtype]
    return None if largest <= allowed else f"a share of {largest:.1g}"  # a NaN is a difference too
