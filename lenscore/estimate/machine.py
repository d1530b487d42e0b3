"""What a machine has to offer."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from lenscore.models.device import resolve_device


@dataclass(frozen=True)
class Machine:
    """Bytes of memory and disk that are free, on the GPU too, and processors.

    Attributes:
        memory: that processes may take before others' is swapped out.
        disk: free where results are written.
        held: of the disk, what the study's own results take already.
        processors: that this process may use.
        gpu: memory of the GPU on which the study runs; None where it runs on none.
    """

    memory: int
    disk: int
    processors: int
    held: int = 0
    gpu: int | None = None

    @classmethod
    def here(cls, results: Path, device: str) -> "Machine":
        """Return what this machine has now.

        Args:
            results: the study's folder.
            device: on which the study is to run: ``cpu``, ``cuda`` or ``auto``.

        Raises:
            ContextError: a GPU is asked for, and there is none.
        """
        affinity = getattr(os, "sched_getaffinity", None)  # not on every system
        return cls(
            memory=min([psutil.virtual_memory().available, *free_in_groups()]),
            disk=shutil.disk_usage(results).free,
            processors=len(affinity(0)) if affinity else os.cpu_count() or 1,
            held=sum(file.stat().st_size for file in results.rglob("*") if file.is_file()),
            gpu=torch.cuda.mem_get_info()[0] if resolve_device(device) == "cuda" else None,
        )


def free_in_groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """Yield what is free in each control group (version 2) that this process is in and that has a limit.

    A container has less memory than its machine. Files that are cached are no hindrance, and count as free.

    Args:
        root: where the groups are mounted.
        own: names the process's group.
    """
    with suppress(OSError, StopIteration):
        lines = own.read_text(encoding="utf-8").splitlines()
        group = root / next(line for line in lines if line.startswith("0::")).removeprefix("0::").lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(root):
                break
            with suppress(OSError, ValueError):  # the machine's own group has no limit, and "max" is no number
                limit = int((folder / "memory.max").read_text())
                used = int((folder / "memory.current").read_text())
                kinds = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                yield limit - used + int(kinds.get("inactive_file", 0))
