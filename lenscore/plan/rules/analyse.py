"""Rule analyse: a study's tables and findings, from its database."""

from pathlib import Path

from lenscore.plan.job import Inputs, Job, Outputs
from lenscore.study.analysis import AnalysisSpec


class AnalyseInputs(Inputs):
    """The database."""

    database: Path


class AnalyseOutputs(Outputs):
    """Each table as CSV and as Parquet, in one order, and the findings."""

    csv: list[Path]
    parquet: list[Path]
    findings: Path


class AnalyseJob(Job):
    """Make the tables.

    Attributes:
        settings: of the statistics.
    """

    inputs: AnalyseInputs
    outputs: AnalyseOutputs
    settings: AnalysisSpec
