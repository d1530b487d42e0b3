"""Rule choose_examples: the contexts that the page's explorer shows."""

from pathlib import Path

from lenscore.plan.job import Inputs, Job, Outputs


class ExamplesInputs(Inputs):
    """The database."""

    database: Path


class ExamplesOutputs(Outputs):
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
