"""Draw one chart of a study from its table: Vega-Lite, SVG and PNG."""

from pathlib import Path
from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(chart: str, table: Path, folder: Path) -> None:
    """Read the table, draw the chart named ``chart``, save it in each format."""
    import pandas as pd

    from lenscore.report.charts.files import write_chart

    write_chart(chart, pd.read_parquet(table), folder)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(snakemake.wildcards.chart, Path(snakemake.input.table), Path(snakemake.output.svg).parent)
