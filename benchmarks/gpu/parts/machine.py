"""The machine: its GPU and processor, the versions of what runs on it, and how fast it multiplies matrices."""

import importlib.util
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version

from benchmarks.gpu.device import description
from benchmarks.gpu.plan import Line, Setting
from benchmarks.gpu.rates import PRECISIONS, copy_rate, product_rate
from benchmarks.lens import machine

_LIBRARIES = ("numpy", "pyarrow", "triton", "pydantic", "tokenizers", "safetensors", "accelerate")


def run(setting: Setting) -> Iterator[Line]:
    """Yield a line on the machine, and one on each rate."""
    installed = {name: version(name) for name in _LIBRARIES if importlib.util.find_spec(name) is not None}
    yield {
        "kind": "machine",
        **description(setting.device),
        **machine.description(),
        "processors_for_this_process": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "system": platform.platform(),
        **installed,
    }
    for precision in PRECISIONS if setting.device == "cuda" else ("float32",):
        rate = product_rate(setting.device, precision)
        yield {"kind": "rate", "what": f"products, {precision}", "per_second": rate, "unit": "operations"}
    yield {"kind": "rate", "what": "copy in memory", "per_second": copy_rate(setting.device), "unit": "bytes"}
