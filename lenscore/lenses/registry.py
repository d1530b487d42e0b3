"""Lenses by the names of their modules, which are imported when they are asked for.

A study names lenses by the list in ``lenscore.study.lenses``. Nothing here reads that list, so that a lens that is
added to it makes no records of the others stale.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from lenscore.lenses.lens import Lens
from lenscore.models.loading import LoadedModel
from lenscore.study.tuned_lens import TunedLensSpec

# Loading a lens must not become stale when its training changes.
if TYPE_CHECKING:
    from lenscore.lenses.files import TrainedLens
    from lenscore.lenses.texts import LensTexts


@dataclass(frozen=True)
class LensSource:
    """Where a lens comes from.

    Attributes:
        module: has ``load`` (:class:`LensModule`).
        file: what its training has written; None for a lens that is not trained.
    """

    module: str
    file: Path | None = None


@runtime_checkable
class LensModule(Protocol):
    """The module of a lens."""

    def load(self, model: LoadedModel, model_folder: Path, file: Path | None) -> Lens:
        """Return the lens of a model.

        Args:
            model: whose states it is to read.
            model_folder: the model's files and manifest.
            file: of a trained lens, what its training has written; None for others.

        Raises:
            SourceError: the file is no lens of this model.
        """


@runtime_checkable
class TrainingModule(Protocol):
    """The module that trains a lens."""

    def train(
        self, model_folder: Path, texts: "LensTexts", settings: TunedLensSpec, *, dtype: str, device: str, threads: int
    ) -> "TrainedLens":
        """Train the lens of a model on texts outside the study."""


def load_lenses(sources: Mapping[str, LensSource], model_folder: Path, model: LoadedModel) -> dict[str, Lens]:
    """Return the lenses of a model by name.

    Args:
        sources: by name, where each lens comes from.
        model_folder: the model's files and manifest.
        model: whose states the lenses are to read.

    Raises:
        SourceError: a file is no lens of this model.
    """
    modules = {name: cast("LensModule", import_module(source.module)) for name, source in sources.items()}
    return {name: modules[name].load(model, model_folder, source.file) for name, source in sources.items()}


def training_module(name: str) -> TrainingModule:
    """Return a module that trains a lens."""
    return cast("TrainingModule", import_module(name))
