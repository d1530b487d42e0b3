"""How a model reads the contexts of a set: what the sections ``models`` and ``context_sets`` say of it together."""

from typing import Literal

from lenscore.study.models import Matmul
from lenscore.study.section import Section


class Reading(Section):
    """Precision and window of a model, and what is done with contexts that are longer than the window."""

    dtype: Literal["float32", "bfloat16", "float16"]
    matmul: Matmul
    window: int | None
    overflow: Literal["error", "skip", "truncate_documents"]
    cut: Literal["answer", "start"]
