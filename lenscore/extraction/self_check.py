"""What is computed here must be what the model computes: every job proves it before it records anything."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lenscore.errors import SelfCheckError
from lenscore.extraction.tokens import TokenisedContext
from lenscore.models.loading import LoadedModel
from lenscore.models.residuals import states_and_logits
from lenscore.models.unembedding import Unembedding

# Largest difference allowed, relative to the magnitude: some hundred units in the last place, since
# the model multiplies its matrices in other shapes.
_TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}


@dataclass(frozen=True)
class ReferencePass:
    """The states and logits of the model's own code for one context at its predicting positions.

    Attributes:
        model_name: how messages name the model.
        context: the context.
        states: layers 0 to L.
        logits: in float32.
        tolerance: largest difference that rounding explains, relative to the magnitude.
    """

    model_name: str
    context: TokenisedContext
    states: Float[Tensor, "layers positions width"]
    logits: Float[Tensor, "positions vocabulary"]
    tolerance: float

    @classmethod
    def of(cls, loaded: LoadedModel, context: TokenisedContext) -> "ReferencePass":
        """Run a model whose linear layers and attention have not been replaced."""
        ids = torch.tensor([context.ids], device=loaded.device)
        positions = torch.tensor(context.predicting_positions, device=loaded.device)
        states, logits = states_and_logits(loaded, ids, positions)
        return cls(loaded.name, context, states, logits, _TOLERANCE[loaded.dtype])

    def check_last_layer(self, unembedding: Unembedding, states: Float[Tensor, "layers positions width"]) -> float:
        """Compare the unembedded states of layer L with the model's own logits.

        Returns:
            The largest absolute difference of a logit.

        Raises:
            SelfCheckError: it is larger than rounding explains.
        """
        with torch.inference_mode():
            logits = unembedding(states[-1])
        if logits.shape != self.logits.shape:
            raise SelfCheckError(
                self._message(f"its logits have shape {tuple(self.logits.shape)}, the lens's {tuple(logits.shape)}")
            )
        difference = (logits - self.logits).abs().max().item()
        allowed = self.tolerance * self.logits.abs().max().item()
        if not difference <= allowed:  # a NaN fails too
            raise SelfCheckError(
                self._message(f"they differ by up to {difference:.3g} where rounding explains {allowed:.1g}")
            )
        return difference

    def _message(self, fault: str) -> str:
        return (
            f"{self.model_name}: the lens at the last layer does not give the model's own logits: {fault}. Likely "
            "causes: another head than the one found, a missing logit scale or soft cap, a final norm applied twice or "
            "not at all; see docs/architectures.md"
        )


def difference_beyond_rounding(
    states: Float[Tensor, "layers positions width"], reference: Float[Tensor, "layers positions width"], rounded: bool
) -> str | None:
    """Describe by how much states differ from the reference; None if rounding explains it.

    Each state is compared by its norm, separately: dimensions and positions differ in size by orders of magnitude.

    Args:
        states: the states to check.
        reference: what they should be.
        rounded: matrices were multiplied in bfloat16, whatever the precision of the states.
    """
    relative = (states - reference).float().norm(dim=-1) / reference.float().norm(dim=-1)
    largest = relative.max().item()
    allowed = _TOLERANCE[torch.bfloat16 if rounded else reference.dtype]
    return None if largest <= allowed else f"a share of {largest:.1g}"  # a NaN is a difference too
