"""Rule estimate_study: what a study will take, counted and timed on a few of its questions."""

from pathlib import Path
from typing import Any

from lenscore.plan.job import Files, Job


class EstimateInputs(Files):
    """The dataset's questions, and the models' folders in the order of the study's models."""

    questions: Path
    models: list[Path]


class EstimateOutputs(Files):
    """The estimate as JSON."""

    estimate: Path


class EstimateJob(Job):
    """Estimate a study.

    Attributes:
        config: the study, without how it is analysed and shown.
    """

    inputs: EstimateInputs
    outputs: EstimateOutputs
    config: dict[str, Any]
