"""Section ``analysis``: the statistics' settings."""

from typing import Literal

from pydantic import Field

from lenscore.study.section import Section, Seed

FirstToken = Literal["content", "any"]


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
    smallest_effect: float = Field(
        default=0.5, gt=0, le=1000, description="Layers: a curve whose interval lies within ± this is called flat."
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
    regions: int = Field(default=3, ge=1, le=10, description="Equal parts of the relative position, for the tables.")
