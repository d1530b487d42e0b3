"""x·Wᵀ by the fastest matrix products there are for the processor at hand.

PyTorch multiplies float32 matrices by MKL, which runs at half of what processors that are not Intel's can
do; oneDNN, which PyTorch uses by itself for reduced precision alone, runs at full speed on all of them. A
weight that serves many of oneDNN's products is packed once. ``torch.compile`` does the same when it
freezes a model; here no compiler is needed. The results are those of float32, rounded in another order.
"""

import platform
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

# The number of rows that a packed weight's layout is chosen for; others are right too.
_ROWS = 512
_CPU_INFO = Path("/proc/cpuinfo")


def _is_intels() -> bool:
    return "Intel" in (_CPU_INFO.read_text() if _CPU_INFO.is_file() else platform.processor())


def _by_onednn() -> set[torch.dtype]:
    if not torch.backends.mkldnn.is_available():
        return set()
    found = set() if _is_intels() and torch.backends.mkl.is_available() else {torch.float32}
    if multiplies_bf16(torch.device("cpu")):
        found.add(torch.bfloat16)
    return found


def multiplies_bf16(device: torch.device) -> bool:
    """Say whether a processor multiplies bfloat16 matrices itself; where it does not, libraries emulate it, slowly."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    by_instruction = (torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported)
    emulated = platform.machine().lower() in ("x86_64", "amd64") and not any(has() for has in by_instruction)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and not emulated


# What oneDNN multiplies here. Decided by the processor, never by a measurement: results must not vary by run.
BY_ONEDNN = _by_onednn()


def pack(weight: Float[Tensor, "outputs inputs"]) -> Tensor:
    """Return a weight laid out for :func:`product`; itself where there is nothing to gain."""
    if _is_onednns(weight):
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _ROWS)
        return packed
    return weight


def product(rows: Float[Tensor, "*rows inputs"], weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return rows · weightᵀ + bias.

    Args:
        rows: what is multiplied.
        weight: (outputs, inputs), plain or packed.
        bias: (outputs), or None.
    """
    if _is_onednns(weight):
        whole = weight if weight.is_mkldnn else weight.contiguous()  # it is very slow with strides
        found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, whole, bias, "none", [], "")
        return found
    return linear(rows, weight, bias)


def _is_onednns(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype in BY_ONEDNN
