"""x·Wᵀ by the fastest matrix products there are for the processor at hand.

On a CPU these are oneDNN's, which PyTorch uses by itself for reduced precision alone: its float32 products
are MKL's, slower by half on processors that are not Intel's. A weight that serves many products is
packed once. ``torch.compile`` does the same when it freezes a model; here no compiler is needed. The
results are those of float32, rounded in another order.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

# The number of rows that a packed weight's layout is chosen for; others are right too.
_ROWS = 512

# What oneDNN multiplies on this machine's CPU.
DTYPES = {torch.float32} if torch.backends.mkldnn.is_available() else set()
if DTYPES and torch.ops.mkldnn._is_mkldnn_bf16_supported():
    DTYPES.add(torch.bfloat16)


def pack(weight: Float[Tensor, "outputs inputs"]) -> Tensor:
    """Return a weight laid out for :func:`product`; itself where there is nothing to gain."""
    if _by_onednn(weight):
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _ROWS)
        return packed
    return weight


def product(rows: Float[Tensor, "*rows inputs"], weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return rows · weightᵀ + bias.

    Args:
        rows: what is multiplied.
        weight: (outputs, inputs), contiguous or packed.
        bias: (outputs), or None.
    """
    if _by_onednn(weight):
        found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
        return found
    return linear(rows, weight, bias)


def _by_onednn(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype in DTYPES
