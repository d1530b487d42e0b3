"""Where a model runs: CPU or GPU, and how many CPU threads."""

import os

import torch

from lenscore.errors import ContextError


def resolve_device(wanted: str) -> str:
    """Return ``cpu`` or ``cuda``; ``auto`` takes a GPU if there is one.

    Raises:
        ContextError: a GPU is asked for, and there is none.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise ContextError("extraction.device: cuda is asked for, but PyTorch finds no GPU here; set it to auto or cpu")
    return "cuda" if wanted == "cuda" or (wanted == "auto" and available) else "cpu"


def use_threads(threads: int) -> None:
    """Let PyTorch use as many threads as a job was given, but no more than there are processors.

    ``snakemake --cores 4`` gives four on a machine of two. Threads of linear algebra wait for one another busily:
    solving a layer's least squares with four on two processors took a hundred times as long as with two.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    torch.set_num_threads(min(threads, processors))
