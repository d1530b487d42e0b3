"""The parts of the check and their time limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Line = dict[str, Any]

# Of the whole check, from the command to its end.
TOTAL_SECONDS = 480
# What starting the first process and writing the last report may take.
_START_UP_SECONDS = 15


@dataclass(frozen=True)
class Part:
    """One part of the check.

    Attributes:
        name: what the command line and the report call it.
        module: has ``run(setting, **options)``, which yields lines.
        seconds: its time limit, of ``TOTAL_SECONDS``; the start of its process counts.
        options: for ``run``.
        on_cpu: whether it runs where there is no GPU, unless it is asked for by name.
    """

    name: str
    module: str
    seconds: float
    options: Mapping[str, Any] = field(default_factory=dict)
    on_cpu: bool = True


@dataclass(frozen=True)
class Setting:
    """What all parts of a check have in common.

    Attributes:
        device: ``cuda`` or ``cpu``.
        model: the folder of a real model for the records; None for random weights.
    """

    device: str
    model: str | None = None

    @property
    def small(self) -> bool:
        """Whether sizes are so small that a CPU takes seconds: then the check checks itself alone."""
        return self.device == "cpu"


_PARTS = "benchmarks.gpu.parts"

# Correctness first. Then speed, the parts that matter most first: the last ones lose their time if others need more.
PARTS = (
    Part("machine", f"{_PARTS}.machine", 40),
    Part("parity", f"{_PARTS}.parity", 75),
    Part("records", f"{_PARTS}.records", 55),
    Part("memory", f"{_PARTS}.memory", 65),
    Part("speed-1b", f"{_PARTS}.speed", 55, {"shape": "llama-1b", "dtype": "bfloat16"}, on_cpu=False),
    Part("speed-8b", f"{_PARTS}.speed", 110, {"shape": "llama-8b", "dtype": "bfloat16"}, on_cpu=False),
    Part("speed-moe", f"{_PARTS}.speed", 35, {"shape": "qwen3-moe", "dtype": "bfloat16"}, on_cpu=False),
    Part(
        "speed-1b-float32",
        f"{_PARTS}.speed",
        30,
        {"shape": "llama-1b", "dtype": "float32", "effort": "brief"},
        on_cpu=False,
    ),
)  # fmt: skip


def time_limits(parts: Sequence[Part], total: float) -> list[float]:
    """Return the parts' time limits in seconds where the whole check may take ``total`` seconds."""
    share = min(1.0, (total - _START_UP_SECONDS) / sum(part.seconds for part in parts))
    return [part.seconds * share for part in parts]
