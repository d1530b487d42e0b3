"""Make a study's page."""

import logging
from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log
from lenscore.plan.rules.render_report import PageJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(job: PageJob) -> None:
    """Render the page, and say in the log what the study's jobs took."""
    from lenscore.files import written_whole
    from lenscore.report.page.render import render_page
    from lenscore.report.run_times import in_words, run_times, table_in_text

    times = run_times(job.benchmarks)
    html = render_page(job.inputs.database, job.inputs.findings.parent, job.inputs.charts, job.config, times)
    with written_whole(job.outputs.page) as beside:
        beside.write_text(html, encoding="utf-8")
    log = logging.getLogger("lenscore")
    log.info("what the jobs took:\n%s\n%s", table_in_text(times), in_words(times))
    log.info("the report: %s", job.outputs.page.resolve())


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        planned = PageJob.model_validate(snakemake.params.job)
        with planned.with_files(snakemake.input, snakemake.output) as job:
            run(job)
