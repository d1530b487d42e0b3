"""Section ``report``: the page's settings."""

from pydantic import Field

from lenscore.study.section import Section


class ReportSpec(Section):
    """The page's settings."""

    title: str | None = Field(
        default=None, max_length=1000, description="Heading of the page; null makes one from the study's name."
    )
    examples: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="Contexts of each kind that the explorer shows from every cell of the design.",
    )
