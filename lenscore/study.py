"""The config of a study: its one shape, its defaults, and what combinations make sense.

Everything that reads a config reads it through :class:`Study`; ``config.schema.json``
is generated from it. The module imports no other stage and nothing heavy, since the
Snakefile imports it on every start.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from lenscore.errors import ConfigError

# A name becomes part of paths and a wildcard of the workflow.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
GitHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]

Condition = Literal["documents", "oracle", "closed_book"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DatasetSpec(_Section):
    """Where the questions come from."""

    source: str = Field(
        description="embedded:questions | path:<file> | url:<https address> | hub:<owner/name>",
        pattern=r"^(embedded:questions|(path|url|hub):.+)$",
    )
    format: Literal["auto", "questions", "lost_in_the_middle", "nq_open", "key_value"] = Field(
        default="auto",
        description="What a row is; auto recognises it by the keys of the first row.",
    )
    sha256: Sha256 | None = Field(default=None, description="Expected SHA-256 of the file (path: and url:).")
    git_blob: GitHash | None = Field(
        default=None, description="Expected git blob id of the file, instead of a SHA-256 (path: and url:)."
    )
    revision: GitHash | None = Field(default=None, description="Commit of a Hub dataset (required with hub:).")
    config: str | None = Field(default=None, description="Configuration (subset) of a Hub dataset.")
    split: str = Field(default="validation", description="Split of a Hub dataset.")

    @property
    def name(self) -> str:
        """Name of the dataset's folder: what it is called, and a hash where two may be called the same."""
        kind, _, place = self.source.partition(":")
        stem = re.sub(r"[^a-z0-9]+", "-", place.rpartition("/")[2].partition(".")[0].lower()).strip("-")
        if kind == "embedded":
            return f"embedded-{stem}"
        identity = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return f"{stem or kind}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"

    @model_validator(mode="after")
    def _pinned(self) -> "DatasetSpec":
        kind = self.source.partition(":")[0]
        if kind == "url" and not (self.sha256 or self.git_blob):
            raise ValueError("a url: dataset needs sha256 or git_blob, so that what is fetched is what was meant")
        if kind == "hub" and not self.revision:
            raise ValueError("a hub: dataset needs revision: the 40 hex digits of a commit")
        if kind != "hub" and (self.revision or self.config):
            raise ValueError(f"revision and config belong to hub: datasets, not to {kind}:")
        if kind in ("embedded", "hub") and (self.sha256 or self.git_blob):
            raise ValueError(f"sha256 and git_blob belong to path: and url: datasets, not to {kind}:")
        return self


class ModelSpec(_Section):
    """Where a model comes from, and the arithmetic it is run in."""

    source: str = Field(
        description="hub:<owner/name> | wheel:<package>==<version> | path:<folder>",
        pattern=r"^(hub:[^/\s]+(/[^/\s]+)?|wheel:[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+|path:.+)$",
    )
    revision: GitHash | None = Field(default=None, description="Commit of a Hub model (required with hub:).")
    member: str | None = Field(default=None, description="Path of the GGUF file in the wheel (required with wheel:).")
    sha256: Sha256 | None = Field(default=None, description="SHA-256 of the wheel (required with wheel:).")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="Precision of weights and residual stream; the lens's statistics are float32."
    )
    window: int | None = Field(
        default=None, ge=8, description="Longest context in tokens; null takes it from the model's own config."
    )

    @model_validator(mode="after")
    def _pinned(self) -> "ModelSpec":
        kind = self.source.partition(":")[0]
        if kind == "hub" and not self.revision:
            raise ValueError("a hub: model needs revision: the 40 hex digits of a commit")
        if kind == "wheel" and not (self.member and self.sha256):
            raise ValueError("a wheel: model needs member (the GGUF file in the wheel) and sha256 (of the wheel)")
        if kind != "hub" and self.revision:
            raise ValueError(f"revision belongs to hub: models, not to {kind}:")
        if kind != "wheel" and (self.member or self.sha256):
            raise ValueError(f"member and sha256 belong to wheel: models, not to {kind}:")
        return self


class ContextSetSpec(_Section):
    """One way of making contexts; each set is built and extracted by itself."""

    documents: list[Annotated[int, Field(ge=1)]] = Field(
        description="Numbers of documents in a context; may be empty where controls are asked for."
    )
    positions: Literal["all"] | Annotated[int, Field(ge=2)] | list[Annotated[int, Field(ge=0)]] = Field(
        default=5,
        description="Gold indices: all; a count, evenly spread with both ends; or a list of indices.",
    )
    distractors: Literal["auto", "dataset", "bm25", "random"] = Field(
        default="auto",
        description="dataset: those it brings; bm25, random: from all other gold documents of the dataset; "
        "auto: the dataset's where it brings any, else bm25.",
    )
    prompt: str = Field(
        default="few_shot", description="A template of lenscore/data/prompts, or the path of a .yaml file of your own."
    )
    controls: list[Literal["closed_book", "oracle"]] = Field(
        default=[], description="closed_book: no documents; oracle: the gold document alone."
    )
    overflow: Literal["error", "skip", "truncate_documents"] = Field(
        default="error", description="What to do where a context is longer than the model's window."
    )
    cut: Literal["answer", "start"] = Field(
        default="answer",
        description="With truncate_documents: keep the gold document's words around the answer, or every "
        "document's start (a question whose answer is then lost is skipped).",
    )
    seed: int = Field(default=0, ge=0, description="Draws random distractors.")

    @model_validator(mode="after")
    def _possible(self) -> "ContextSetSpec":
        if not self.documents and not self.controls:
            raise ValueError("documents is empty and no controls are asked for: the set has no contexts")
        for name, values in (("documents", self.documents), ("controls", self.controls)):
            if len(set(values)) != len(values):
                raise ValueError(f"{name} names a value twice: {values}")
        if isinstance(self.positions, list):
            if not self.positions or len(set(self.positions)) != len(self.positions):
                raise ValueError(f"positions must be a list of one or more different gold indices, not {self.positions}")
            for n in self.documents:
                if max(self.positions) >= n:
                    raise ValueError(
                        f"positions has gold index {max(self.positions)}, but among {n} documents the last is {n - 1}"
                    )
        if isinstance(self.positions, int):
            for n in self.documents:
                if self.positions > n:
                    raise ValueError(
                        f"positions asks for {self.positions} places among {n} document{'s' * (n > 1)}; at most {n}"
                    )
        return self


class ExtractionSpec(_Section):
    """What is kept of a layer's distribution over the vocabulary."""

    top_k: int = Field(default=5, ge=1, le=100, description="Most probable tokens kept per layer and answer token.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU where there is one.")


class AnalysisSpec(_Section):
    """The statistics' settings."""

    resamples: int = Field(default=2000, ge=100, description="Bootstrap resamples of the questions.")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Confidence of the intervals.")
    seed: int = Field(default=0, ge=0, description="Draws the resamples.")
    regions: int = Field(default=3, ge=1, le=10, description="Equal parts of the relative position, for the tables.")


class ReportSpec(_Section):
    """The page's settings."""

    title: str | None = Field(default=None, description="Heading of the page; null makes one from the study's name.")


class Study(_Section):
    """One study: dataset × context sets × models × lenses."""

    study: Name = Field(description="Names the folder results/<study>/.")
    dataset: DatasetSpec
    questions: int = Field(ge=1, description="The first n of the dataset in a seeded order; a larger n only adds.")
    seed: int = Field(default=0, ge=0, description="Orders the questions.")
    shard_size: int = Field(default=25, ge=1, description="Questions a shard.")
    missing_answer: Literal["error", "skip"] = Field(
        default="error", description="What to do with a question none of whose answers occurs in its gold document."
    )
    context_sets: dict[Name, ContextSetSpec] = Field(min_length=1)
    models: dict[Name, ModelSpec] = Field(min_length=1)
    lenses: list[Literal["logit"]] = Field(default=["logit"], min_length=1, max_length=1)
    extraction: ExtractionSpec = ExtractionSpec()
    analysis: AnalysisSpec = AnalysisSpec()
    report: ReportSpec = ReportSpec()

    @property
    def n_shards(self) -> int:
        """Number of shards of each context set."""
        return -(-self.questions // self.shard_size)

    def questions_of_shard(self, shard: int) -> tuple[int, int]:
        """Return the places (first, end) of a shard's questions in the study's order."""
        return shard * self.shard_size, min((shard + 1) * self.shard_size, self.questions)


def read_study(config: Mapping[str, Any]) -> Study:
    """Validate a config as Snakemake has read it.

    Raises:
        ConfigError: with one line a fault: the key's path, what is wrong, and what was found there.
    """
    try:
        return Study.model_validate(config)
    except ValidationError as error:
        lines = [_fault(dict(fault)) for fault in error.errors()]
        raise ConfigError("the config cannot be run:\n" + "\n".join(f"  {line}" for line in lines)) from None


def _fault(fault: dict[str, Any]) -> str:
    path = ".".join(str(part) for part in fault["loc"] if not re.search(r"[\[(]", str(part))) or "(top level)"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        return f"{path}: unknown key; see config.schema.json for those there are"
    if fault["type"] in ("missing", "value_error"):
        return f"{path}: {message}"
    return f"{path}: {message}; found {fault['input']!r}"
