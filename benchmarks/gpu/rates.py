"""How fast a device multiplies large matrices, and reads and writes its memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmarks.gpu.device import timed

# Of a square product on a GPU, and on a CPU, where it only shows that the program works.
_SIZES = {"cuda": 8192, "cpu": 512}
_COPIED_BYTES = {"cuda": 2**32, "cpu": 2**24}
_REPEATS = 10
_SECONDS = 1.0

# How products may be rounded, by the name that the report uses: the type of the matrices, and PyTorch's setting.
PRECISIONS = {
    "float32": (torch.float32, "highest"),
    "tf32": (torch.float32, "high"),
    "bfloat16": (torch.bfloat16, "highest"),
}


@contextmanager
def float32_products(setting: str) -> Iterator[None]:
    """Set how float32 matrices are multiplied inside the ``with``: ``highest`` is float32, ``high`` allows TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(setting)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@torch.inference_mode()
def product_rate(device: str, precision: str) -> float:
    """Return the operations a second of a large square product, a key of ``PRECISIONS``."""
    dtype, setting = PRECISIONS[precision]
    size = _SIZES[device]
    one, other, result = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(3))

    def multiply(times: int = _REPEATS) -> None:
        for _ in range(times):
            torch.mm(one, other, out=result)

    with float32_products(setting):
        multiply()  # libraries choose their kernels at the first call
        _, once = timed(device, multiply)
        # Long enough for a card to slow down to what it can go on with, as it does under a model.
        times = _REPEATS * max(1, round(_SECONDS / once))
        _, seconds = timed(device, lambda: multiply(times))
    return 2 * size**3 * times / seconds


@torch.inference_mode()
def copy_rate(device: str) -> float:
    """Return the bytes a second that a copy within the device's memory reads and writes."""
    source = torch.zeros(_COPIED_BYTES[device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        for _ in range(_REPEATS):
            target.copy_(source)

    copy()
    _, seconds = timed(device, copy)
    return 2 * source.nbytes * _REPEATS / seconds
