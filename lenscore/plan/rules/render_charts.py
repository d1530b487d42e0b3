"""Rule render_charts: all charts of a study, drawn in one process."""

from pathlib import Path

from lenscore.plan.job import Inputs, Job, Outputs


class ChartsInputs(Inputs):
    """The tables that charts are drawn from."""

    tables: list[Path]


class ChartsOutputs(Outputs):
    """The folder of the charts: of each a Vega-Lite, an SVG and a PNG file."""

    charts: Path


class ChartsJob(Job):
    """Draw the charts."""

    inputs: ChartsInputs
    outputs: ChartsOutputs
