"""How a model runs over the contexts of a set: what the sections ``models`` and ``context_sets`` say of it together."""

from dataclasses import dataclass
from typing import Literal

from lenscore.study.models import Matmul


@dataclass(frozen=True)
class Overflow:
    """What to do with a context that is longer than the window, as the keys ``overflow`` and ``cut`` say."""

    action: Literal["error", "skip", "truncate_documents"] = "error"
    cut: Literal["answer", "start"] = "answer"


@dataclass(frozen=True)
class RunSettings:
    """Precision and window of a model, and what is done with contexts that are longer than the window."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    matmul: Matmul = "exact"
    window: int | None = None
    overflow: Overflow = Overflow()
