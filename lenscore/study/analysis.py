"""Section ``analysis``: the statistics' settings."""

from typing import Literal

from pydantic import Field, model_validator

from lenscore.study.section import Name, Section, Seed, impossible


class SmallestEffect(Section):
    """The smallest effect of interest, in one of two ways."""

    share: float | None = Field(
        default=None, gt=0, le=1, description="As a share of the model's layers L, so that models of any depth compare."
    )
    layers: float | None = Field(default=None, gt=0, le=1000, description="In layers, the same for every model.")

    @model_validator(mode="after")
    def _one_of_two(self) -> "SmallestEffect":
        if (self.share is None) == (self.layers is None):
            raise impossible("share", "give either the share or the layers, as in {share: 0.0167}")
        return self

    def in_layers(self, n_layers: int) -> float:
        """Return the bound in layers for a model of ``n_layers`` layers (L)."""
        return self.share * n_layers if self.share is not None else float(self.layers or 0)


FirstToken = Literal["content", "any"]

MeasureName = Literal[
    "refinement_depth", "refinement_depth_top5", "refinement_depth_top10", "soft_depth", "own_token_refinement_depth",
    "prediction_depth", "own_token_soft_depth", "jsd_settled_layer",
]  # fmt: skip
"""The measures whose curves are tested; those of the model's own token need no right answer."""

TokenChoice = Literal["all", "content", "first"]
Population = Literal["each_position", "every_position", "first_right", "answer_right"]


class PrimaryAnalysis(Section):
    """The one way of asking that makes the headline. It is chosen before the results are seen."""

    measure: MeasureName = Field(default="refinement_depth", description="What is measured, and of which target.")
    tokens: TokenChoice = Field(default="content", description="Which tokens of an answer.")
    population: Population = Field(
        default="every_position", description="Which of these, by what the model gets right."
    )
    lens: Name | None = Field(default=None, description="Through which of the study's lenses; else its first.")

    @model_validator(mode="after")
    def _possible(self) -> "PrimaryAnalysis":
        if self.tokens == "first" and self.population in ("first_right", "answer_right"):
            raise impossible(
                "population",
                f"{self.population} with tokens: first is each_position: set that, or tokens: content",
            )
        return self


class AnalysisSpec(Section):
    """The statistics' settings."""

    resamples: int = Field(default=2000, ge=100, le=1_000_000, description="Bootstrap resamples of the questions.")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Confidence of the intervals.")
    seed: Seed = Field(default=0, description="Seed of the resampling.")
    permutations: int = Field(
        default=4999,
        ge=99,
        le=10_000_000,
        description="Random permutations of a permutation test.",
    )
    smallest_effect: SmallestEffect = Field(
        default=SmallestEffect(share=0.0167),
        description="An effect smaller than this is negligible: what lies within ± this is called flat.",
    )
    first_token: FirstToken = Field(
        default="content",
        description="An answer's first token: the first with a letter or digit (content), or the very first (any).",
    )
    jsd_threshold: float = Field(
        default=0.125,
        gt=0,
        lt=0.69,
        description="Nats: a layer whose Jensen–Shannon divergence from the last one is at most this has settled. At "
        "0.125 the two distributions share at least half of their probability.",
    )
    primary: PrimaryAnalysis = Field(
        default=PrimaryAnalysis(),
        description="The one way of asking that makes the headline; all others are shown as a specification curve.",
    )
    regions: int = Field(default=3, ge=1, le=10, description="Equal parts of the relative position, for the tables.")
