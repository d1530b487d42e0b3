"""What a job spends its time on: seconds of the model's passes and of the lens, in this process."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lenscore.files import write_json

if TYPE_CHECKING:
    import torch

_SECONDS: defaultdict[str, float] = defaultdict(float)


@contextmanager
def spent_on(what: Literal["model", "lens"], device: "torch.device") -> Iterator[None]:
    """Count the time of the ``with`` as spent on the model's passes, or on a lens's logits and statistics.

    Args:
        what: what the time is spent on.
        device: where the work runs. A GPU works while Python goes on, so the clock is read when the GPU has finished.
    """
    _wait_for(device)
    started = time.perf_counter()
    try:
        yield
        _wait_for(device)
    finally:
        _SECONDS[what] += time.perf_counter() - started


def write_spent(path: Path) -> None:
    """Write the seconds that this process has spent on each."""
    write_json(path, {what: round(_SECONDS[what], 3) for what in ("model", "lens")})


def _wait_for(device: "torch.device") -> None:
    if device.type == "cuda":
        import torch  # here, so that jobs that run no model start without it

        torch.cuda.synchronize(device)
