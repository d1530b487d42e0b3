"""What is computed here must be what the model computes: every job proves it before it records anything."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lenscore.errors import SelfCheckError
from lenscore.extraction.tokens import TokenisedContext
from lenscore.models.finite import first_not_finite, not_finite
from lenscore.models.loading import LoadedModel
from lenscore.models.residuals import residual_states, states_and_logits
from lenscore.models.unembedding import Unembedding

# Largest difference allowed, relative to the magnitude: some hundred units in the last place, since
# the model multiplies its matrices in other shapes.
_TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}
# In half precision each block adds rounding of its own, and the sum of n such errors grows with √n: the tolerance is
# that of so many blocks. Two attention kernels of PyTorch differ by up to 7% after 32 blocks of a random model.
_BLOCKS_OF_TOLERANCE = 8

# Tokens of the passes that show whether a model is causal.
_SHORT = 32


def _explained_by_rounding(dtype: torch.dtype, n_blocks: int) -> float:
    growth = 1.0 if dtype == torch.float32 else max(1.0, n_blocks / _BLOCKS_OF_TOLERANCE) ** 0.5
    return _TOLERANCE[dtype] * growth


def refuse_not_causal(loaded: LoadedModel, context: TokenisedContext) -> None:
    """Refuse a model whose earlier states change when later tokens change: what it "predicts" it has read.

    Two short passes by the model's own code are compared, with other tokens in the second half.

    Args:
        loaded: the model.
        context: of which the first tokens are used.

    Raises:
        SelfCheckError: a state of the first half changes by more than rounding explains.
        NotFiniteError: a state is NaN or infinite.
    """
    first = context.ids[:_SHORT]
    kept = (len(first) + 1) // 2
    # Tokens of the context itself: others may mean something to the model, as the place of an image does.
    second = first[:kept] + [next((other for other in first if other != token), token) for token in first[kept:]]
    positions = torch.arange(kept, device=loaded.device)
    states, changed = (
        residual_states(loaded, {"input_ids": torch.tensor([tokens], device=loaded.device)}, positions)
        for tokens in (first, second)
    )
    if (at := first_not_finite(states)) is not None:
        raise not_finite(loaded.name, loaded.dtype, f"at layer {at[0]} of context {context.name}")
    if difference := difference_beyond_rounding(changed, states, loaded.dtype, loaded.n_layers, middle=True):
        raise SelfCheckError(
            f"{loaded.name}: its states of earlier tokens change by {difference} when later tokens change: it is not "
            "causal, and has read the answer that it is to predict (an encoder, or use_bidirectional_attention in its "
            "config); a causal language model is needed"
        )


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
        return cls(loaded.name, context, states, logits, _explained_by_rounding(loaded.dtype, loaded.n_layers))

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


def difference_beyond_rounding(
    states: Float[Tensor, "layers positions width"],
    reference: Float[Tensor, "layers positions width"],
    dtype: torch.dtype,
    n_blocks: int,
    *,
    middle: bool = False,
) -> str | None:
    """Describe by how much states differ from the reference; None if rounding explains it.

    Each state is compared by its norm, separately: dimensions and positions differ in size by orders of magnitude.

    Args:
        states: the states to check.
        reference: what they should be.
        dtype: the precision in which matrices were multiplied, whatever that of the states.
        n_blocks: how many blocks the last of the states have gone through.
        middle: in half precision, the median over positions counts, not the largest: where a router is close to a tie,
            rounding sends single tokens to other experts.
    """
    norms = reference.float().norm(dim=-1).clamp(min=torch.finfo(torch.float32).tiny)
    apart = (states - reference).float().norm(dim=-1) / norms
    if middle and dtype != torch.float32:
        apart = apart.median(dim=-1).values
    largest = apart.max().item()
    return (
        None if largest <= _explained_by_rounding(dtype, n_blocks) else f"a share of {largest:.1g}"
    )  # a NaN is a difference too
