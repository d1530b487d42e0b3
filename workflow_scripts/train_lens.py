"""Train a lens of a model on questions outside the study."""

from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log
from lenscore.plan.check import StudyCheck
from lenscore.plan.rules.train_lens import TrainLensJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(job: TrainLensJob, check: StudyCheck, threads: int) -> None:
    """Check the study, choose the texts, train, write the lens, its manifest and its divergences."""
    from lenscore.contexts.questions import read_questions
    from lenscore.jobs.spent import write_spent
    from lenscore.lenses.overlap import check_study
    from lenscore.lenses.registry import training_module
    from lenscore.lenses.texts import lens_texts
    from lenscore.records import read_table
    from lenscore.sources.tables import QUESTIONS

    dataset = read_questions(read_table(job.inputs.questions, QUESTIONS).to_pylist())
    check_study(dataset, **check.model_dump())
    texts = lens_texts(dataset, job.order, job.settings.questions, job.settings.held_out)
    trained = training_module(job.training).train(
        job.inputs.model, texts, job.settings, dtype=job.dtype, device=job.device, threads=threads
    )
    trained.write(job.outputs.lens, job.outputs.manifest, job.outputs.divergence)
    write_spent(job.outputs.spent)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        planned = TrainLensJob.model_validate(snakemake.params.job)
        with planned.with_files(snakemake.input, snakemake.output) as job:
            run(job, StudyCheck.model_validate(snakemake.params.check), snakemake.threads)
