"""Who takes part, and how well each must agree with the reference."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.lens.environment import transformerlens_python
from benchmarks.lens.protocol import Worker
from lenscore.models.products import ONEDNN_DTYPES

_WORKERS = "benchmarks.lens.workers"

# Contexts of a batch: as many as most questions have positions, so that lengths in a batch differ little.
_BATCH = 5


@dataclass(frozen=True)
class Contestant:
    """One implementation of the lens.

    Attributes:
        name: how results call it.
        module: its worker, in ``benchmarks.lens.workers``.
        tolerance: the most that a log-probability may differ from the reference's; None where products are rounded
            and agreement is reported.
        options: for its worker's loader.
    """

    name: str
    module: str
    tolerance: float | None
    options: Mapping[str, Any]

    def start(self) -> Worker:
        """Start its process."""
        python = transformerlens_python() if self.module == "transformerlens_worker" else Path(sys.executable)
        return Worker(self.name, python, f"{_WORKERS}.{self.module}")


# One context at a time: nothing is padded, shared or rounded.
REFERENCE = Contestant("transformers", "transformers_worker", 0.0, {"batch": 1})
ENGINE = Contestant("lenscore", "engine_worker", 1e-4, {"matmul": "exact"})
_ROUNDED = Contestant("lenscore-bf16", "engine_worker", None, {"matmul": "bf16"})
ENGINES = (ENGINE, _ROUNDED) if torch.bfloat16 in ONEDNN_DTYPES else (ENGINE,)

ALL = (
    *ENGINES,
    REFERENCE,
    Contestant("transformers-batched", "transformers_worker", 1e-3, {"batch": _BATCH}),
    Contestant("transformerlens", "transformerlens_worker", 1e-3, {"lean": False}),
    Contestant("transformerlens-lean", "transformerlens_worker", 1e-3, {"lean": True}),
)
