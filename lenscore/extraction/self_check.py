"""What is computed here must be what the model computes: every job proves it before it records anything."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lenscore.errors import SelfCheckError
from lenscore.extraction.tokens import TokenisedContext
from lenscore.models.finite import first_not_finite, not_finite
from lenscore.models.loading import LoadedModel
from lenscore.models.residuals import states_and_logits
from lenscore.models.rounding import explained_by_rounding
from lenscore.models.unembedding import Unembedding


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
        """Run a model whose linear layers and attention have not been replaced.

        Raises:
            NotFiniteError: its states have NaN or infinity, or its logits NaN or +∞.
        """
        ids = torch.tensor([context.ids], device=loaded.device)
        positions = torch.tensor(context.predicting_positions, device=loaded.device)
        states, logits = states_and_logits(loaded, ids, positions)
        if (at := first_not_finite(states)) is not None:
            raise not_finite(loaded.name, loaded.dtype, f"at layer {at[0]} of context {context.name}")
        if (logits.isnan() | logits.isposinf()).any():
            raise not_finite(loaded.name, loaded.dtype, f"in the model's own logits of context {context.name}")
        return cls(loaded.name, context, states, logits, explained_by_rounding(loaded.dtype, loaded.n_layers))

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
        # A logit of −∞ is a token that the model rules out, and must be −∞ here too.
        difference = (logits - self.logits).abs().masked_fill(logits == self.logits, 0.0).max().item()
        allowed = self.tolerance * self.logits[self.logits.isfinite()].abs().max().item()
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
