"""Ablate every block in the contexts of a shard's questions."""

from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log
from lenscore.plan.rules.ablate_shard import AblateJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(job: AblateJob, threads: int) -> None:
    """Ablate, write the table."""
    from lenscore.ablation.shard import ablate_shard
    from lenscore.contexts.tables import CONTEXTS, contexts_from_table
    from lenscore.jobs.spent import write_spent
    from lenscore.records import made_from, read_table, write_table

    shard = ablate_shard(
        contexts_from_table(read_table(job.inputs.contexts, CONTEXTS)),
        job.inputs.model,
        n_questions=job.n_questions,
        documents=job.documents,
        replacements=job.replacements,
        scopes=job.scopes,
        settings=job.settings,
        means=next(iter(job.inputs.means), None),
        device=job.device,
        threads=threads,
    )
    made = made_from(job.inputs.contexts, job.inputs.model)
    write_table(shard.ablations, job.outputs.ablations, {**shard.facts, **job.identity, "made_from": made})
    write_spent(job.outputs.spent)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        planned = AblateJob.model_validate(snakemake.params.job)
        with planned.with_files(snakemake.input, snakemake.output) as job:
            run(job, snakemake.threads)
