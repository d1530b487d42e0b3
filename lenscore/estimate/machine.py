"""What a machine has to offer."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Machine:
    """Bytes of memory and disk that are free, and processors.

    Attributes:
        memory: that processes may take before others' is swapped out.
        disk: free where results are written.
        processors: that this process may use.
    """

    memory: int
    disk: int
    processors: int

    @classmethod
    def here(cls, results: Path) -> "Machine":
        """Return what this machine has now.

        Args:
            results: a folder, on the disk that results are written to.
        """
        affinity = getattr(os, "sched_getaffinity", None)  # not on every system
        return cls(
            memory=psutil.virtual_memory().available,
            disk=shutil.disk_usage(results).free,
            processors=len(affinity(0)) if affinity else os.cpu_count() or 1,
        )
