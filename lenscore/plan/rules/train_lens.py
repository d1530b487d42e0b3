"""Rule train_lens: a trained lens of one model, on questions outside the study."""

from pathlib import Path
from typing import Literal

from lenscore.plan.job import Inputs, Job, Outputs
from lenscore.study.tuned_lens import TunedLensSpec


class TrainLensInputs(Inputs):
    """The model's folder, and the dataset's questions."""

    model: Path
    questions: Path


class TrainLensOutputs(Outputs):
    """The lens, what it was trained on, how far it is from the model, and the time that the training spent."""

    lens: Path
    manifest: Path
    divergence: Path
    spent: Path


class TrainLensJob(Job):
    """Train a lens.

    Attributes:
        training: module that trains the lens.
        settings: of the training.
        order: seed of the study's order of questions, whose last ones the lens is trained on.
        dtype: of the model.
        device: where to run.
    """

    inputs: TrainLensInputs
    outputs: TrainLensOutputs
    training: str
    settings: TunedLensSpec
    order: int
    dtype: str
    device: Literal["auto", "cpu", "cuda"]
