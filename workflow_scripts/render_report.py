"""Make the report's page."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from lenscore.joblog import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(database: Path, findings: Path, charts: Path, title: str | None, page: Path) -> None:
    """Render the page beside its place, then rename it."""
    from lenscore.files import written_whole
    from lenscore.report.page import render_page

    html = render_page(database, findings, findings.parent, charts, title)
    with written_whole(page) as beside:
        beside.write_text(html, encoding="utf-8")
    logging.getLogger("lenscore").info("the report: %s", page.resolve())


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(
            Path(snakemake.input.database),
            Path(snakemake.input.findings),
            Path(snakemake.input.charts[0]).parent,
            snakemake.params.spec["title"],
            Path(snakemake.output.page),
        )
