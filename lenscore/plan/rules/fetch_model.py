"""Rule fetch_model: a model from wherever its source says, into a folder of its own."""

from pathlib import Path

from lenscore.plan.job import Files, Job, Outputs
from lenscore.study.models import ModelSpec


class FetchModelOutputs(Outputs):
    """The folder of the model."""

    folder: Path


class FetchModelJob(Job):
    """Fetch one model.

    Attributes:
        model: its name in the study, for messages.
        source: where it comes from.
        contents: of a ``path:`` model, the SHA-256 of each file that is read; empty for other sources.
        seed: with which the weights of an untrained model are drawn; None for a trained one.
    """

    inputs: Files
    outputs: FetchModelOutputs
    model: str
    source: ModelSpec
    contents: dict[str, str]
    seed: int | None
