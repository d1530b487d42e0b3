"""Rule render_report: the study's page."""

from pathlib import Path
from typing import Any

from lenscore.plan.job import Inputs, Job, Outputs


class PageInputs(Inputs):
    """All that the page shows."""

    database: Path
    tables: list[Path]
    findings: Path
    charts: Path


class PageOutputs(Outputs):
    """The page."""

    page: Path


class PageJob(Job):
    """Render the page.

    Attributes:
        config: the whole config, with which the study can be made again.
        benchmarks: by rule, the benchmark files of its jobs; where jobs share no files, they are not there, and the
            page has no table of times.
    """

    inputs: PageInputs
    outputs: PageOutputs
    config: dict[str, Any]
    benchmarks: dict[str, list[Path]]
