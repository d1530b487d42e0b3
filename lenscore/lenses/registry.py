"""Lenses by name: ``lenscore.study.lenses`` lists them, and their modules are imported when one is asked for."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from lenscore.lenses.lens import Lens
from lenscore.models.loading import LoadedModel
from lenscore.study.lenses import LENSES, TunedLensSpec

# Who loads a lens must not become stale by how one is trained.
if TYPE_CHECKING:
    from lenscore.lenses.files import TrainedLens
    from lenscore.lenses.texts import LensTexts


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


def load_lenses(files: Mapping[str, Path | None], model_folder: Path, model: LoadedModel) -> dict[str, Lens]:
    """Return the lenses of a model by name.

    Args:
        files: by name, the file of a trained lens; None for one that is not trained.
        model_folder: the model's files and manifest.
        model: whose states the lenses are to read.

    Raises:
        SourceError: a file is no lens of this model.
    """
    modules = {name: cast("LensModule", import_module(LENSES[name].module)) for name in files}
    return {name: module.load(model, model_folder, files[name]) for name, module in modules.items()}


def training_of(name: str) -> TrainingModule:
    """Return the module that trains a lens."""
    training = LENSES[name].training
    assert training is not None, f"lens {name} is not trained"
    return cast("TrainingModule", import_module(training))
