"""The whole config of a study: its defaults, and which combinations make sense."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from lenscore.errors import ConfigError, shown
from lenscore.study import chat, dataset, models, section
from lenscore.study.ablation import AblationSpec
from lenscore.study.analysis import AnalysisSpec
from lenscore.study.context_sets import AnswerInDistractors, ContextSetSpec
from lenscore.study.dataset import DatasetSpec
from lenscore.study.extraction import ExtractionSpec
from lenscore.study.lenses import LENSES, LensName
from lenscore.study.messages import fault_in_words
from lenscore.study.models import ModelSpec
from lenscore.study.report import ReportSpec
from lenscore.study.run_settings import Chat, Overflow, RunSettings
from lenscore.study.section import MOST_QUESTIONS, Name, Section, Seed, impossible
from lenscore.study.tuned_lens import TunedLensSpec

# Contexts × models.
_LARGE = 200


class Study(Section):
    """One study: dataset × context sets × models × lenses."""

    study: Name = Field(description="Names the folder results/<study>/.")
    dataset: DatasetSpec
    questions: int = Field(
        ge=1,
        le=MOST_QUESTIONS,
        description="The first n of the dataset in a seeded order; a larger n only adds.",
    )
    seed: Seed = Field(default=0, description="Orders the questions.")
    shard_size: int = Field(default=25, ge=1, le=MOST_QUESTIONS, description="Questions a shard.")
    missing_answer: Literal["error", "skip"] = Field(
        default="error", description="What to do with a question none of whose answers occurs in its gold document."
    )
    answer_in_distractors: AnswerInDistractors = Field(
        default="keep",
        description="What to do with a distractor of the dataset's own that holds an accepted answer; in any case it "
        "is counted. The methods bm25 and random never take one.",
    )
    context_sets: dict[Name, ContextSetSpec] = Field(min_length=1)
    models: dict[Name, ModelSpec] = Field(min_length=1)
    lenses: list[LensName] = Field(default=["logit"], min_length=1)
    tuned_lens: TunedLensSpec = TunedLensSpec()
    ablation: AblationSpec = AblationSpec()
    extraction: ExtractionSpec = ExtractionSpec()
    analysis: AnalysisSpec = AnalysisSpec()
    report: ReportSpec = ReportSpec()

    @model_validator(mode="after")
    def _possible(self) -> "Study":
        for key, values in (
            ("lenses", self.lenses),
            ("ablation.replacements", self.ablation.replacements),
            ("ablation.scopes", self.ablation.scopes),
        ):
            if len(set(values)) != len(values):
                raise impossible(key, f"must not name a value twice; found {shown(values)}")
        if self.ablation.questions > self.questions:
            raise impossible(
                "ablation.questions", f"{self.ablation.questions} are asked for, but the study has {self.questions}"
            )
        if self.analysis.primary.lens not in (None, *self.lenses):
            raise impossible(
                "analysis.primary.lens",
                f"{self.analysis.primary.lens} is not one of the study's lenses, {', '.join(self.lenses)}",
            )
        found = sorted({n for contexts in self.context_sets.values() for n in contexts.documents})
        if missing := [n for n in self.ablation.documents or [] if n not in found]:
            raise impossible("ablation.documents", f"{missing} are numbers of no context set; there are {found}")
        if self.ablation.questions and "resample" in self.ablation.replacements:
            for name, contexts in self.context_sets.items():
                ablated = set(contexts.documents).intersection(self.ablation.documents or contexts.documents)
                if ablated and "shuffled_gold" not in contexts.controls:
                    raise impossible(
                        f"context_sets.{name}.controls",
                        "must have shuffled_gold where ablation.replacements has resample: contributions are taken "
                        "from those contexts",
                    )
        return self

    @property
    def statistics(self) -> AnalysisSpec:
        """The settings of the statistics, in which the primary analysis names its lens."""
        primary = self.analysis.primary
        return self.analysis.model_copy(
            update={"primary": primary.model_copy(update={"lens": primary.lens or self.lenses[0]})}
        )

    def run_settings(self, model: str, context_set: str) -> RunSettings:
        """Return how a model runs over the contexts of a set."""
        spec, contexts = self.models[model], self.context_sets[context_set]
        return RunSettings(
            dtype=spec.dtype,
            matmul=spec.matmul,
            window=spec.window,
            overflow=Overflow(action=contexts.overflow, cut=contexts.cut),
            chat=Chat(date=spec.chat.date, arguments=spec.chat.arguments),
        )

    @property
    def n_contexts(self) -> int:
        """Number of contexts of all sets, read by each model; fewer where questions are left out."""
        return self.questions * sum(contexts.contexts_of_a_question for contexts in self.context_sets.values())

    @property
    def is_large(self) -> bool:
        """Whether the time for an estimate is well spent; a smaller study is done as soon."""
        return self.n_contexts * len(self.models) >= _LARGE

    @property
    def questions_of_lens(self) -> int:
        """Number of questions outside the study that are needed, at the least."""
        return (
            self.tuned_lens.questions + self.tuned_lens.held_out
            if any(LENSES[name].training for name in self.lenses)
            else 0
        )


_MOST_FAULTS = 10  # in one message
_PATTERNS = section.PATTERNS_IN_WORDS | dataset.PATTERNS_IN_WORDS | models.PATTERNS_IN_WORDS | chat.PATTERNS_IN_WORDS


def read_study(config: Mapping[Any, Any]) -> Study:
    """Validate a config as Snakemake has read it.

    Raises:
        ConfigError: with one line a fault: the key's path, what would be right, and what was found there.
    """
    try:
        return Study.model_validate(config)
    except ValidationError as error:
        schema = Study.model_json_schema()
        faults = error.errors(include_url=False)
        lines = [fault_in_words(dict(fault), config, schema, _PATTERNS) for fault in faults[:_MOST_FAULTS]]
        if len(faults) > _MOST_FAULTS:
            lines.append(f"and {len(faults) - _MOST_FAULTS} more faults")
        raise ConfigError("the config cannot be run:\n" + "\n".join(f"  {line}" for line in lines)) from None
