"""Make the report's page."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscore.jobs.log import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    database: Path,
    tables: Path,
    charts: Path,
    benchmarks: Mapping[str, Sequence[str]],
    config: Mapping[str, Any],
    page: Path,
) -> None:
    """Render the page beside its place, then rename it."""
    from lenscore.files import written_whole
    from lenscore.report.page.render import render_page
    from lenscore.report.run_times import in_words, run_times, table_in_text

    times = run_times({rule: [Path(file) for file in files] for rule, files in benchmarks.items()})
    html = render_page(database, tables, charts, config, times)
    with written_whole(page) as beside:
        beside.write_text(html, encoding="utf-8")
    log = logging.getLogger("lenscore")
    log.info("what the jobs took:\n%s\n%s", table_in_text(times), in_words(times))
    log.info("the report: %s", page.resolve())


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(
            Path(snakemake.input.database),
            Path(snakemake.input.findings).parent,
            Path(snakemake.input.charts[0]).parent,
            snakemake.params.benchmarks,
            snakemake.params.spec["config"],
            Path(snakemake.output.page),
        )
