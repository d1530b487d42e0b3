"""What is computed here must be what the model computes: proved in every job before it records anything."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from lenscore.errors import SelfCheckError
from lenscore.extraction.residuals import answer_states, own_logits
from lenscore.extraction.tokens import TokenisedContext
from lenscore.lenses.architecture import Architecture
from lenscore.lenses.decoder import Decoder
from lenscore.study import Matmul

# Largest difference allowed, as a share of the largest magnitude: some hundred units in the last
# place, since the model multiplies its matrices in other shapes.
_TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}


@dataclass(frozen=True)
class OwnPass:
    """What the model itself, as it was loaded, gives for one context at its predicting positions.

    Attributes:
        model: how messages name it.
        context: what was run.
        states: layers 0 to L.
        logits: in float32.
        allowed: largest difference from either that rounding explains, as a share of the largest magnitude.
    """

    model: str
    context: TokenisedContext
    states: Float[Tensor, "layers positions width"]
    logits: Float[Tensor, "positions vocabulary"]
    allowed: float

    @classmethod
    def of(
        cls, model: PreTrainedModel, architecture: Architecture, context: TokenisedContext, matmul: Matmul = "exact"
    ) -> "OwnPass":
        """Run the model by its own code.

        Args:
            model: with its own linear layers and its own attention.
            architecture: its parts.
            context: what to run.
            matmul: the products of what is to be compared, which may be more coarsely rounded than the model's.
        """
        ids = torch.tensor([context.ids], device=model.device)
        positions = torch.tensor(context.predicting_positions, device=model.device)
        return cls(
            f"{type(model).__name__} (model_type {model.config.model_type})",
            context,
            answer_states(architecture, {"input_ids": ids}, positions),
            own_logits(model, ids, positions),
            _TOLERANCE[torch.bfloat16 if matmul == "bf16" else model.dtype],
        )

    def difference_of_states(self, states: Float[Tensor, "layers positions width"]) -> str | None:
        """Say by how much states differ from the model's own; None where rounding explains it."""
        difference = ((states - self.states).abs().amax(dim=(1, 2)) / self.states.abs().amax(dim=(1, 2))).max().item()
        return None if difference <= self.allowed else f"a share of {difference:.1g}"  # a NaN is a difference too

    def check_last_layer(self, decoder: Decoder, states: Float[Tensor, "layers positions width"]) -> float:
        """Compare the decoded states of layer L with the model's own logits.

        Returns:
            The largest absolute difference of a logit.

        Raises:
            SelfCheckError: it is larger than rounding explains.
        """
        with torch.inference_mode():
            decoded = decoder(states[-1])
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
