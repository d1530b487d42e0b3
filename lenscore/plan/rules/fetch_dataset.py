"""Rule fetch_dataset: a dataset from wherever its source says, as one table of questions."""

from pathlib import Path

from lenscore.plan.job import Files, Job, Outputs
from lenscore.study.dataset import DatasetSpec


class FetchDatasetOutputs(Outputs):
    """The table of questions, and what it was made from."""

    manifest: Path
    questions: Path


class FetchDatasetJob(Job):
    """Fetch one dataset.

    Attributes:
        source: where it comes from, and its format.
        contents: of a dataset on this machine, the SHA-256 of its file; empty for other sources.
    """

    inputs: Files
    outputs: FetchDatasetOutputs
    source: DatasetSpec
    contents: dict[str, str]
