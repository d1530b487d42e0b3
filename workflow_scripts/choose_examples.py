"""Choose the contexts that the explorer shows, and write down all that was recorded of them."""

from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log
from lenscore.plan.rules.choose_examples import ExamplesJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(job: ExamplesJob) -> None:
    """Write the table of examples as CSV and as Parquet."""
    from lenscore.analysis.examples import study_examples
    from lenscore.analysis.table_files import write_csv, write_parquet

    table = study_examples(job.inputs.database, job.per_cell)
    write_csv(table, job.outputs.csv)
    write_parquet(table, job.outputs.parquet)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        planned = ExamplesJob.model_validate(snakemake.params.job)
        with planned.with_files(snakemake.input, snakemake.output) as job:
            run(job)
