"""Rule reference_means: the blocks' mean contributions over contexts of the study's first questions."""

from pathlib import Path
from typing import Literal

from lenscore.plan.job import Inputs, Job, Outputs
from lenscore.study.run_settings import RunSettings


class MeansInputs(Inputs):
    """The model's folder, and the contexts of the shards that hold the first questions."""

    model: Path
    contexts: list[Path]


class MeansOutputs(Outputs):
    """The means, and the time that the model took."""

    means: Path
    spent: Path


class MeansJob(Job):
    """Take the means.

    Attributes:
        settings: how the model runs over contexts.
        device: where to run.
        n_questions: the study's first questions, over whose contexts means are taken.
        documents: numbers of documents of those contexts.
    """

    inputs: MeansInputs
    outputs: MeansOutputs
    settings: RunSettings
    device: Literal["auto", "cpu", "cuda"]
    n_questions: int
    documents: list[int]
