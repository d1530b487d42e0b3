"""What a job spends its time on: how long the model's passes and the lens have taken in this process."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from lenscore.files import write_json

_SECONDS: defaultdict[str, float] = defaultdict(float)


@contextmanager
def spent_on(what: Literal["model", "lens"]) -> Iterator[None]:
    """Count the time of the block as spent on a model's passes, or on making and weighing a lens's logits."""
    started = time.perf_counter()
    try:
        yield
    finally:
        _SECONDS[what] += time.perf_counter() - started


def write_spent(path: Path) -> None:
    """Write the seconds that this process has spent on each."""
    write_json(path, {what: round(_SECONDS[what], 3) for what in ("model", "lens")})
