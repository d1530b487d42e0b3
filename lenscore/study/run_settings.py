"""How a model runs over the contexts of a set: what the sections ``models`` and ``context_sets`` say of it together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lenscore.study.models import Matmul


@dataclass(frozen=True)
class Overflow:
    """What to do with a context that is longer than the window, as the keys ``overflow`` and ``cut`` say."""

    action: Literal["error", "skip", "truncate_documents"] = "error"
    cut: Literal["answer", "start"] = "answer"


@dataclass(frozen=True)
class Chat:
    """What the model's chat template is given besides the turns, as the key ``chat`` says.

    Attributes:
        date: today's, to the template; in the form 2025-01-31.
        arguments: of the template.
    """

    date: str = "2025-01-01"
    arguments: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)


@dataclass(frozen=True)
class RunSettings:
    """Precision, window and chat template of a model, and what is done with contexts longer than the window."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    matmul: Matmul = "exact"
    window: int | None = None
    overflow: Overflow = Overflow()
    chat: Chat = Chat()
