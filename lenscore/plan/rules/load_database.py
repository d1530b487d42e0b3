"""Rule load_database: every shard of a study, in one DuckDB file."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lenscore.plan.job import Inputs, Job, Outputs
from lenscore.study.ablation import Replacement, Scope


class LoadInputs(Inputs):
    """All that the database is made from; files of shards in the order of the job's shards."""

    questions: Path
    dataset: Path
    models: list[Path]
    contexts: list[Path]
    left_out: list[Path]
    answers_in_distractors: list[Path]
    records: list[Path]
    answer_tokens: list[Path]
    fits: list[Path]
    divergences: list[Path]
    lens_manifests: list[Path]
    ablations: list[Path]


class LoadOutputs(Outputs):
    """The database."""

    database: Path


class StudyModel(BaseModel):
    """What the database says of a model that its folder does not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dtype: str
    matmul: str


class LoadJob(Job):
    """Load a study.

    Attributes:
        study: its name.
        config: the whole config but for the settings of statistics and report, which the database does not depend on.
        models: in the order of their folders.
        lenses: names of the study's lenses.
        divergences: (model, lens) of each file of divergences, and of each manifest.
        context_shards: (context set, shard) of each file of contexts.
        record_shards: (model, context set, shard) of each file of records.
        ablation_shards: (model, context set, shard) of each file of ablations.
        scopes: of the study's ablations.
        replacements: of the study's ablations.
        extraction_code: version of the code that extracted the records.
    """

    inputs: LoadInputs
    outputs: LoadOutputs
    study: str
    config: dict[str, Any]
    models: list[StudyModel]
    lenses: list[str]
    divergences: list[tuple[str, str]]
    context_shards: list[tuple[str, int]]
    record_shards: list[tuple[str, str, int]]
    ablation_shards: list[tuple[str, str, int]]
    scopes: list[Scope]
    replacements: list[Replacement]
    extraction_code: str
