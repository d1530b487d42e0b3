"""Draw all charts of a study."""

from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log
from lenscore.plan.rules.render_charts import ChartsJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(job: ChartsJob) -> None:
    """Draw each chart from its table, and save it in each format."""
    from lenscore.report.charts.files import write_charts

    write_charts({table.stem: table for table in job.inputs.tables}, job.outputs.charts)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        planned = ChartsJob.model_validate(snakemake.params.job)
        with planned.with_files(snakemake.input, snakemake.output) as job:
            run(job)
