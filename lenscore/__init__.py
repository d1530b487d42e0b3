"""Where in its depth a language model finds an answer, and how that moves with where in the prompt the answer stands.

In a notebook or beside other code::

    model = lenscore.load("HuggingFaceTB/SmolLM2-135M-Instruct")
    reading = model.read("The capital of France is", answer=" Paris")

A whole study is a workflow: ``lenscore run``. All that is exported here is public; everything below may change.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lenscore.errors import LenscoreError as LenscoreError
    from lenscore.notebook.load import load as load
    from lenscore.notebook.model import Model as Model
    from lenscore.notebook.opened_study import OpenedStudy as OpenedStudy
    from lenscore.notebook.opened_study import open_study as open_study
    from lenscore.notebook.reading import Reading as Reading

# Imported when they are asked for: the workflow's own processes need none of them, and PyTorch takes seconds.
_HOMES = {
    "LenscoreError": "lenscore.errors",
    "Model": "lenscore.notebook.model",
    "OpenedStudy": "lenscore.notebook.opened_study",
    "Reading": "lenscore.notebook.reading",
    "load": "lenscore.notebook.load",
    "open_study": "lenscore.notebook.opened_study",
}
__all__ = ["LenscoreError", "Model", "OpenedStudy", "Reading", "load", "open_study"]

try:
    __version__ = version("lenscore")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "unknown"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lenscore' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
