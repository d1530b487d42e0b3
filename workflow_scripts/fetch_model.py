"""Fetch a model."""

from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log
from lenscore.plan.rules.fetch_model import FetchModelJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(job: FetchModelJob) -> None:
    """Fill the model's folder; refuse a model in which no lens would find its parts."""
    from lenscore.models.architecture import find_architecture
    from lenscore.sources.models import fetch_model

    fetch_model(job.source, job.outputs.folder, job.model, job.contents or None, find_architecture, seed=job.seed)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        planned = FetchModelJob.model_validate(snakemake.params.job)
        with planned.with_files(snakemake.input, snakemake.output) as job:
            run(job)
