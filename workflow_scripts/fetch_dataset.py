"""Fetch a dataset."""

from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log
from lenscore.plan.rules.fetch_dataset import FetchDatasetJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(job: FetchDatasetJob) -> None:
    """Write the table of questions and the manifest, which share a folder."""
    from lenscore.sources.datasets import fetch_dataset

    fetch_dataset(job.source, job.outputs.manifest.parent, job.contents or None)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        planned = FetchDatasetJob.model_validate(snakemake.params.job)
        with planned.with_files(snakemake.input, snakemake.output) as job:
            run(job)
