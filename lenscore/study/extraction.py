"""Section ``extraction``: what is kept of a layer's distribution, and where models run."""

from typing import Literal

from pydantic import Field

from lenscore.study.section import Section


class ExtractionSpec(Section):
    """What is kept of a layer's distribution over the vocabulary."""

    top_k: int = Field(default=5, ge=1, le=100, description="Most probable tokens kept per layer and answer token.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU where there is one.")
