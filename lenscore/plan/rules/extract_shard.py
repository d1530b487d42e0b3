"""Rule extract_shard: what the lenses say of one model at the answer tokens of one shard of contexts."""

from pathlib import Path

from lenscore.plan.job import Inputs, Outputs, ShardJob
from lenscore.study.extraction import ExtractionSpec


class ExtractInputs(Inputs):
    """The model's folder, the shard's contexts, and of each trained lens its file and its manifest."""

    model: Path
    contexts: Path
    lenses: list[Path]
    lens_manifests: list[Path]


class ExtractOutputs(Outputs):
    """The three tables of the shard, and the time that the model and the lenses took."""

    records: Path
    answer_tokens: Path
    fits: Path
    spent: Path


class ExtractJob(ShardJob):
    """Extract one shard.

    Attributes:
        extraction: what is kept, and where to run.
        lenses: by name, the module of each of the study's lenses.
        trained: names of those that are trained, in the order of their files.
        cache: the folder of the cache of records.
    """

    inputs: ExtractInputs
    outputs: ExtractOutputs
    extraction: ExtractionSpec
    lenses: dict[str, str]
    trained: list[str]
    cache: Path
