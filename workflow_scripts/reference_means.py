"""Take the blocks' mean contributions over contexts of the study's first questions."""

from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log
from lenscore.plan.rules.reference_means import MeansJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(job: MeansJob, threads: int) -> None:
    """Run the model over the first questions' contexts, write the means."""
    from lenscore.ablation.means import reference_means, write_means
    from lenscore.contexts.tables import CONTEXTS, contexts_from_table
    from lenscore.jobs.spent import write_spent
    from lenscore.records import read_table

    tables = [read_table(path, CONTEXTS) for path in job.inputs.contexts]
    contexts = [context for table in tables for context in contexts_from_table(table)]
    reference = reference_means(
        contexts,
        job.inputs.model,
        n_questions=job.n_questions,
        documents=job.documents,
        settings=job.settings,
        device=job.device,
        threads=threads,
    )
    write_means(reference, job.outputs.means)
    write_spent(job.outputs.spent)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        planned = MeansJob.model_validate(snakemake.params.job)
        with planned.with_files(snakemake.input, snakemake.output) as job:
            run(job, snakemake.threads)
