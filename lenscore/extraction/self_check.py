"""The lens at layer L must be the model: proved in every job before it records anything."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from lenscore.errors import SelfCheckError
from lenscore.extraction.residuals import answer_states, own_logits
from lenscore.lenses.architecture import Architecture
from lenscore.lenses.decoder import Decoder

# Largest difference allowed, as a share of the logits' largest magnitude: some hundred units in the last
# place, since the model may multiply its matrices in another shape than the decoder.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}


def check_last_layer(
    model: PreTrainedModel,
    architecture: Architecture,
    decoder: Decoder,
    input_ids: Int[Tensor, "1 sequence"],
    positions: Int[Tensor, " positions"],
) -> float:
    """Compare the decoded states of layer L with the model's own logits.

    Returns:
        The largest absolute difference of a logit.

    Raises:
        SelfCheckError: it is larger than rounding explains.
    """
    with torch.inference_mode():
        states = answer_states(architecture, {"input_ids": input_ids}, positions)
        ours: Float[Tensor, "positions vocabulary"] = decoder(states[-1])
    own = own_logits(model, input_ids, positions)
    if ours.shape != own.shape:
        raise SelfCheckError(
            _message(model, f"its logits have shape {tuple(own.shape)}, the lens's {tuple(ours.shape)}")
        )
    difference = (ours - own).abs().max().item()
    allowed = TOLERANCE[model.dtype] * own.abs().max().item()
    if not difference <= allowed:  # a NaN fails too
        raise SelfCheckError(
            _message(model, f"they differ by up to {difference:.3g} where rounding explains {allowed:.1g}")
        )
    return difference


def _message(model: PreTrainedModel, fault: str) -> str:
    return (
        f"{type(model).__name__} (model_type {model.config.model_type}): the lens at the last layer does not give the "
        f"model's own logits: {fault}. Likely causes: another head than the one found, a missing logit scale or soft "
        "cap, a final norm applied twice or not at all; see docs/architectures.md"
    )
