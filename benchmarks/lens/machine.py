"""The machine: what its processor is, and how fast it multiplies matrices."""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers
from torch import Tensor

from lenscore.models.products import ONEDNN_DTYPES, pack, product

# (rows, inputs, outputs): a small model's MLP over a chunk of tokens, and products that any library is tuned for.
_SIZES = ((1024, 576, 1536), (1024, 1536, 576), (1024, 1024, 1024), (2048, 2048, 2048))
_REPEATS = 3
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_tile")


def description() -> dict[str, Any]:
    """Return what a reader of timings must know."""
    processor = _processor()
    flags = processor.get("flags", "").split()
    return {
        "processor": processor.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _processor() -> dict[str, str]:
    """Return what Linux says of the first core."""
    if sys.platform != "linux":
        return {}
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def product_rates() -> dict[str, float]:
    """Return the rate of matrix products, in operations a second, in float32 and in what else oneDNN multiplies here.

    The best of PyTorch's own products and the engine's, over some sizes: what a program would reach that did
    nothing but multiply large matrices. Of each, the median of some repeats, as contestants' times are medians.
    """
    dtypes = {torch.float32, *ONEDNN_DTYPES}
    with torch.inference_mode():
        return {str(dtype).removeprefix("torch."): max(_rates(dtype)) for dtype in sorted(dtypes, key=str)}


def _rates(dtype: torch.dtype) -> Iterator[float]:
    for rows, inputs, outputs in _SIZES:
        states, weight = torch.randn(rows, inputs, dtype=dtype), torch.randn(outputs, inputs, dtype=dtype)
        packed = pack(weight)
        for multiply in (partial(torch.mm, states, weight.T), partial(product, states, packed)):
            yield 2 * rows * inputs * outputs / _usual(multiply)


def _usual(multiply: Callable[[], Tensor]) -> float:
    multiply()
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        multiply()
        seconds.append(time.perf_counter() - start)
    return median(seconds)
