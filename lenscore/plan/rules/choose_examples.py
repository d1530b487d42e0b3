"""Rule choose_examples: the contexts that the page's explorer shows."""

from pathlib import Path

from lenscore.plan.job import Files, Job


class ExamplesInputs(Files):
    """The database."""

    database: Path


class ExamplesOutputs(Files):
    """The table of examples."""

    csv: Path
    parquet: Path


class ExamplesJob(Job):
    """Choose the examples.

    Attributes:
        per_cell: contexts of each kind from every cell of the design.
    """

    inputs: ExamplesInputs
    outputs: ExamplesOutputs
    per_cell: int
