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

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from lenscore.config_faults import fault_in_words
from lenscore.errors import ConfigError

_NAME = r"^[a-z0-9][a-z0-9._-]*$"
_SHA256 = r"^[0-9a-f]{64}$"
_GIT_HASH = r"^[0-9a-f]{40}$"
_DATASET_SOURCE = r"^(embedded:questions|path:.+|url:https?://\S+|hub:[^/\s]+(/[^/\s]+)?)$"
_MODEL_SOURCE = r"^(hub:[^/\s]+(/[^/\s]+)?|wheel:[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+|path:.+)$"

# A name becomes part of paths and a wildcard of the workflow.
Name = Annotated[str, StringConstraints(pattern=_NAME, max_length=80)]
Sha256 = Annotated[str, StringConstraints(pattern=_SHA256)]
GitHash = Annotated[str, StringConstraints(pattern=_GIT_HASH)]

# How a model's matrices are multiplied: in its own precision, or rounded to bfloat16.
Matmul = Literal["exact", "bf16"]

# What stands in for an ablated block's contribution to the residual stream, and at which tokens.
Replacement = Literal["skip", "mean"]
Scope = Literal["all", "answer"]


def _form_of_positions(value: object) -> str | None:
    """Say which form of ``positions`` a value takes, so that its faults are told of that form alone."""
    if isinstance(value, str):
        return "all" if value == "all" else None
    if isinstance(value, int):
        return None if isinstance(value, bool) else "count"
    return "list" if isinstance(value, list) else None


Positions = Annotated[
    Annotated[Literal["all"], Tag("all")]
    | Annotated[int, Field(ge=2), Tag("count")]
    | Annotated[list[Annotated[int, Field(ge=0)]], Tag("list")],
    Discriminator(
        _form_of_positions,
        custom_error_type="positions",
        custom_error_message="must be all, a count of 2 or more, or a list of gold indices",
    ),
]


def _impossible(key: str, message: str) -> PydanticCustomError:
    """Return the error of a combination that cannot be, told of the key that is to be changed."""
    return PydanticCustomError("impossible", "{message}", {"key": key, "message": message})


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DatasetSpec(_Section):
    """Where the questions come from."""

    source: str = Field(
        description="embedded:questions | path:<file> | url:<https address> | hub:<owner/name>",
        pattern=_DATASET_SOURCE,
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
            raise _impossible(
                "sha256", "a url: dataset needs sha256 or git_blob, so that what is fetched is what was meant"
            )
        if kind == "hub" and not self.revision:
            raise _impossible("revision", "a hub: dataset needs its revision, the 40 hex digits of a commit")
        for key, value, kinds in (
            ("revision", self.revision, ("hub",)),
            ("config", self.config, ("hub",)),
            ("sha256", self.sha256, ("path", "url")),
            ("git_blob", self.git_blob, ("path", "url")),
        ):
            if value and kind not in kinds:
                raise _impossible(key, f"belongs to {': and '.join(kinds)}: datasets, not to {kind}:; leave it out")
        return self


class ModelSpec(_Section):
    """Where a model comes from, and the arithmetic it is run in."""

    source: str = Field(
        description="hub:<owner/name> | wheel:<package>==<version> | path:<folder>",
        pattern=_MODEL_SOURCE,
    )
    revision: GitHash | None = Field(default=None, description="Commit of a Hub model (required with hub:).")
    member: str | None = Field(default=None, description="Path of the GGUF file in the wheel (required with wheel:).")
    sha256: Sha256 | None = Field(default=None, description="SHA-256 of the wheel (required with wheel:).")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="Precision of weights and residual stream; the lens's statistics are float32."
    )
    matmul: Matmul = Field(
        default="exact",
        description="Products of the blocks' matrices: exact, in dtype; bf16, rounded to bfloat16 while residual "
        "stream, attention and head stay in float32 (dtype: float32 alone).",
    )
    window: int | None = Field(
        default=None, ge=8, description="Longest context in tokens; null takes it from the model's own config."
    )

    @model_validator(mode="after")
    def _pinned(self) -> "ModelSpec":
        kind = self.source.partition(":")[0]
        if kind == "hub" and not self.revision:
            raise _impossible("revision", "a hub: model needs its revision, the 40 hex digits of a commit")
        if kind == "wheel" and not self.member:
            raise _impossible("member", "a wheel: model needs member, the path of the GGUF file in the wheel")
        if kind == "wheel" and not self.sha256:
            raise _impossible("sha256", "a wheel: model needs sha256, that of the wheel")
        for key, value, owner in (
            ("revision", self.revision, "hub"),
            ("member", self.member, "wheel"),
            ("sha256", self.sha256, "wheel"),
        ):
            if value and kind != owner:
                raise _impossible(key, f"belongs to {owner}: models, not to {kind}:; leave it out")
        if self.matmul == "bf16" and self.dtype != "float32":
            raise _impossible("matmul", f"bf16 is for dtype: float32; with {self.dtype} set it to exact")
        return self


class ContextSetSpec(_Section):
    """One way of making contexts; each set is built and extracted by itself."""

    documents: list[Annotated[int, Field(ge=1)]] = Field(
        description="Numbers of documents in a context; may be empty where controls are asked for."
    )
    positions: Positions = Field(
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
    orders: int = Field(
        default=1, ge=1, description="Orders of the distractors: the set's own, and orders − 1 drawn with the seed."
    )
    controls: list[Literal["closed_book", "oracle", "shuffled_gold"]] = Field(
        default=[],
        description="closed_book: no documents; oracle: the gold document alone; shuffled_gold: every context once "
        "more, with one more distractor in the gold document's place.",
    )
    overflow: Literal["error", "skip", "truncate_documents"] = Field(
        default="error", description="What to do where a context is longer than the model's window."
    )
    cut: Literal["answer", "start"] = Field(
        default="answer",
        description="With truncate_documents: keep the gold document's words around the answer, or every "
        "document's start (a question whose answer is then lost is skipped).",
    )
    seed: int = Field(default=0, ge=0, description="Draws random distractors, and their further orders.")

    @model_validator(mode="after")
    def _possible(self) -> "ContextSetSpec":
        if not self.documents and not self.controls:
            raise _impossible("documents", "must not be empty where no controls are asked for: the set has no contexts")
        for name, values in (("documents", self.documents), ("controls", self.controls)):
            if len(set(values)) != len(values):
                raise _impossible(name, f"must not name a value twice; found {values}")
        if isinstance(self.positions, list) and len(set(self.positions)) != max(len(self.positions), 1):
            raise _impossible("positions", f"must be one or more different gold indices; found {self.positions}")
        for n in self.documents:
            if isinstance(self.positions, list) and max(self.positions) >= n:
                raise _impossible(
                    "positions", f"has gold index {max(self.positions)}, but the last of {n} has index {n - 1}"
                )
            if isinstance(self.positions, int) and n == 1:
                raise _impossible(
                    "positions",
                    f"asks for {self.positions} places, but 1 document has one place: leave 1 out of documents and "
                    "set controls: [oracle], or set positions: all",
                )
            if isinstance(self.positions, int) and self.positions > n:
                raise _impossible("positions", f"asks for {self.positions} places among {n} documents; at most {n}")
        return self


class ExtractionSpec(_Section):
    """What is kept of a layer's distribution over the vocabulary."""

    top_k: int = Field(default=5, ge=1, le=100, description="Most probable tokens kept per layer and answer token.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU where there is one.")


class TunedLensSpec(_Section):
    """How the tuned lens is trained, where ``lenses`` names it."""

    questions: int = Field(default=200, ge=1, description="Gold documents to train on, of questions outside the study.")
    held_out: int = Field(
        default=50,
        ge=2,
        description="Gold documents held out: half of them say when to stop, half measure the lens.",
    )
    tokens_per_document: int = Field(default=32, ge=1, description="Tokens drawn of each document.")
    steps: int = Field(default=32, ge=0, description="Most steps of gradient descent, after least squares.")
    batch: int = Field(default=256, ge=1, description="Tokens a step.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Of Adam at the first step; falls to 0 at the last.")
    seed: int = Field(default=0, ge=0, description="Draws tokens and batches.")


class AblationSpec(_Section):
    """Which blocks' contributions are taken away, and in which contexts; nothing is ablated without questions."""

    questions: int = Field(default=0, ge=0, description="The study's first n questions; 0 for no ablation.")
    documents: list[Annotated[int, Field(ge=1)]] | None = Field(
        default=None, description="Numbers of documents of the contexts; null for all of the context set's."
    )
    replacements: list[Replacement] = Field(
        default=["skip"],
        min_length=1,
        description="skip: the block adds nothing; mean: it adds its mean over a reference set.",
    )
    scopes: list[Scope] = Field(
        default=["all", "answer"],
        min_length=1,
        description="all: at every token; answer: at the tokens that predict the answer alone.",
    )
    reference: int = Field(
        default=8, ge=1, description="The study's first questions, over whose contexts the mean is taken."
    )


class AnalysisSpec(_Section):
    """The statistics' settings."""

    resamples: int = Field(default=2000, ge=100, description="Bootstrap resamples of the questions.")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Confidence of the intervals.")
    seed: int = Field(default=0, ge=0, description="Draws the resamples.")
    permutations: int = Field(default=4999, ge=99, description="Random permutations of a permutation test.")
    smallest_effect: float = Field(
        default=0.5, gt=0, description="Layers: a curve whose interval lies within ± this is called flat."
    )
    regions: int = Field(default=3, ge=1, le=10, description="Equal parts of the relative position, for the tables.")


class ReportSpec(_Section):
    """The page's settings."""

    title: str | None = Field(default=None, description="Heading of the page; null makes one from the study's name.")
    examples: int = Field(
        default=1, ge=0, description="Contexts of each kind that the explorer shows from every cell of the design."
    )


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
    lenses: list[Literal["logit", "tuned"]] = Field(default=["logit"], min_length=1)
    tuned_lens: TunedLensSpec = TunedLensSpec()
    ablation: AblationSpec = AblationSpec()
    extraction: ExtractionSpec = ExtractionSpec()
    analysis: AnalysisSpec = AnalysisSpec()
    report: ReportSpec = ReportSpec()

    @model_validator(mode="after")
    def _possible(self) -> "Study":
        for section, key, values in (
            (None, "lenses", self.lenses),
            ("ablation", "replacements", self.ablation.replacements),
            ("ablation", "scopes", self.ablation.scopes),
        ):
            if len(set(values)) != len(values):
                name = key if section is None else f"{section}.{key}"
                raise _impossible(name, f"must not name a value twice; found {values}")
        if self.ablation.questions > self.questions:
            raise _impossible(
                "ablation.questions", f"{self.ablation.questions} are asked for, but the study has {self.questions}"
            )
        found = sorted({n for contexts in self.context_sets.values() for n in contexts.documents})
        if missing := [n for n in self.ablation.documents or [] if n not in found]:
            raise _impossible("ablation.documents", f"{missing} are numbers of no context set; there are {found}")
        return self

    @property
    def questions_of_lens(self) -> int:
        """Number of questions outside the study that are needed, at the least."""
        return self.tuned_lens.questions + self.tuned_lens.held_out if "tuned" in self.lenses else 0

    @property
    def n_shards(self) -> int:
        """Number of shards of each context set."""
        return -(-self.questions // self.shard_size)

    def questions_of_shard(self, shard: int) -> tuple[int, int]:
        """Return the places (first, end) of a shard's questions in the study's order."""
        return shard * self.shard_size, min((shard + 1) * self.shard_size, self.questions)

    def ablated_questions(self, shard: int) -> tuple[int, int]:
        """Return the places (first, end) of those of a shard's questions in whose contexts blocks are ablated."""
        first, end = self.questions_of_shard(shard)
        return first, max(first, min(end, self.ablation.questions))

    def ablated_documents(self, context_set: str) -> list[int]:
        """Return the numbers of documents at which blocks are ablated in a context set."""
        chosen = self.ablation.documents
        return [n for n in self.context_sets[context_set].documents if chosen is None or n in chosen]


# What would be right, where pydantic speaks of patterns and of its own classes.
_PATTERNS_IN_WORDS = {
    _NAME: "must be a name of small letters, digits, '.', '_' and '-' that begins with a letter or digit",
    _SHA256: "must be a SHA-256: 64 hex digits, letters small",
    _GIT_HASH: "must be a full git id: 40 hex digits, letters small",
    _DATASET_SOURCE: "must be embedded:questions, path:<file>, url:<https address> or hub:<owner/name>",
    _MODEL_SOURCE: "must be hub:<owner/name>, wheel:<package>==<version> or path:<folder>",
}


def read_study(config: Mapping[str, Any]) -> Study:
    """Validate a config as Snakemake has read it.

    Raises:
        ConfigError: with one line a fault: the key's path, what would be right, and what was found there.
    """
    try:
        return Study.model_validate(config)
    except ValidationError as error:
        schema = Study.model_json_schema()
        lines = [fault_in_words(dict(fault), config, schema, _PATTERNS_IN_WORDS) for fault in error.errors()]
        raise ConfigError("the config cannot be run:\n" + "\n".join(f"  {line}" for line in lines)) from None
