"""Everything that is asked of the device itself. Where it is the CPU, what only a GPU has is None.

As a program it prints the bytes of the GPU's memory that no process uses: what a process that starts now would find.
"""

import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")


def wait_for(device: str) -> None:
    """Return when the device has done what it was given: a GPU works while Python goes on."""
    if device == "cuda":
        torch.cuda.synchronize()


def timed(device: str, do: Callable[[], Result]) -> tuple[Result, float]:
    """Return a function's result and the seconds that it took, the device's work included."""
    wait_for(device)
    start = time.perf_counter()
    result = do()
    wait_for(device)
    return result, time.perf_counter() - start


def start_peak(device: str) -> int | None:
    """Begin to watch for the most memory in use; return the bytes of tensors that are there now."""
    if device != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def peak_bytes(device: str) -> int | None:
    """Return the most bytes that tensors have taken since :func:`start_peak`."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else None


def free_bytes() -> int:
    """Return the bytes of the GPU's memory that no process uses."""
    return torch.cuda.mem_get_info()[0]


def total_bytes() -> int:
    """Return the bytes of the GPU's memory."""
    return torch.cuda.mem_get_info()[1]


def confine(n_bytes: float) -> None:
    """Let this process use no more than ``n_bytes`` of the GPU's memory from now on; what is cached is given back."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, n_bytes / total_bytes()))


def description(device: str) -> dict[str, Any]:
    """Return what a reader of timings must know of the GPU."""
    if device != "cuda":
        return {}
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {
        "card": properties.name,
        "card_memory_gb": round(properties.total_memory / 1e9, 1),
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "other_memory_in_use_gb": round((total_bytes() - torch.cuda.mem_get_info()[0]) / 1e9, 2),
    }


def _driver() -> str | None:
    """Return the version of the GPU's driver, which PyTorch does not know."""
    if (command := shutil.which("nvidia-smi")) is None:
        return None
    asked = (command, "--query-gpu=driver_version", "--format=csv,noheader")
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=20)
    return done.stdout.strip() if done.returncode == 0 else None


if __name__ == "__main__":
    print(free_bytes())
