"""Draw one chart of a study from its table: Vega-Lite, SVG and PNG."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(chart: str, table: Path, outputs: Mapping[str, Path]) -> None:
    """Read the table, draw the chart named ``chart``, save it in each format."""
    import pandas as pd
    import vl_convert

    from lenscore.files import written_whole
    from lenscore.report.charts import CHARTS

    drawn = CHARTS[chart](pd.read_parquet(table))
    for name, format_ in (("vega_lite", "json"), ("svg", "svg")):
        with written_whole(outputs[name]) as beside:
            drawn.save(str(beside), format=format_)
    with written_whole(outputs["png"]) as beside:
        # Of the drawing that there is: to draw it once more for the pixels takes as long again.
        beside.write_bytes(vl_convert.svg_to_png(outputs["svg"].read_text(encoding="utf-8"), scale=2))


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(
            snakemake.wildcards.chart,
            Path(snakemake.input.table),
            {name: Path(path) for name, path in snakemake.output.items()},
        )
