"""x·Wᵀ by the library that is fastest on the processor at hand.

PyTorch multiplies float32 matrices with MKL. On processors that are not Intel's, MKL reaches half of the possible
speed. oneDNN is fast on all of them, but PyTorch uses it for reduced precision only. A weight that oneDNN multiplies
many times is packed once. ``torch.compile`` does the same when it freezes a model; this needs no compiler. The results
are those of float32, rounded in another order.
"""

import platform
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

# The layout of a packed weight is chosen for this number of rows; with other numbers it gives the same results.
_PACKED_FOR_ROWS = 512
_CPU_INFO = Path("/proc/cpuinfo")


def _is_intel() -> bool:
    return "Intel" in (_CPU_INFO.read_text() if _CPU_INFO.is_file() else platform.processor())


def _onednn_dtypes() -> set[torch.dtype]:
    if not torch.backends.mkldnn.is_available():
        return set()
    found = set() if _is_intel() and torch.backends.mkl.is_available() else {torch.float32}
    if multiplies_bf16(torch.device("cpu")):
        found.add(torch.bfloat16)
    return found


def multiplies_bf16(device: torch.device) -> bool:
    """Say whether a processor has instructions for bfloat16 products; without them, libraries emulate it, slowly."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    by_instruction = (torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported)
    emulated = platform.machine().lower() in ("x86_64", "amd64") and not any(has() for has in by_instruction)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and not emulated


# The types that oneDNN multiplies here. The processor decides, never a measurement: results must not vary by run.
ONEDNN_DTYPES = _onednn_dtypes()


def pack(weight: Float[Tensor, "outputs inputs"]) -> Tensor:
    """Return a weight packed for :func:`product`, or the weight itself where packing gains nothing."""
    if _uses_onednn(weight):
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _PACKED_FOR_ROWS)
        return packed
    return weight


def product(rows: Float[Tensor, "*rows inputs"], weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return rows · weightᵀ + bias.

    Args:
        rows: vectors, in the last dimension.
        weight: (outputs, inputs), plain or packed.
        bias: (outputs), or None.
    """
    if _uses_onednn(weight):
        contiguous = weight if weight.is_mkldnn else weight.contiguous()  # oneDNN is very slow with strides
        result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, contiguous, bias, "none", [], "")
        return result
    return linear(rows, weight, bias)


def _uses_onednn(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype in ONEDNN_DTYPES
