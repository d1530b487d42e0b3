"""Make a study's tables and findings from its database."""

from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log
from lenscore.plan.rules.analyse import AnalyseJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(job: AnalyseJob) -> None:
    """Write each table as CSV and as Parquet, and the findings."""
    from lenscore.analysis.table_files import write_csv, write_parquet
    from lenscore.analysis.tables import study_tables
    from lenscore.files import write_json

    tables, findings = study_tables(job.inputs.database, job.settings)
    for csv, parquet in zip(job.outputs.csv, job.outputs.parquet, strict=True):
        write_csv(tables[csv.stem], csv)
        write_parquet(tables[parquet.stem], parquet)
    write_json(job.outputs.findings, findings)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        planned = AnalyseJob.model_validate(snakemake.params.job)
        with planned.with_files(snakemake.input, snakemake.output) as job:
            run(job)
