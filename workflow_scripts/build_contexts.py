"""Build the contexts of one shard of a context set."""

from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log
from lenscore.plan.check import StudyCheck
from lenscore.plan.rules.build_contexts import ContextsJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(job: ContextsJob, check: StudyCheck) -> None:
    """Read and check the dataset, build the shard's contexts, write the tables."""
    from lenscore.contexts.build import build_contexts
    from lenscore.contexts.questions import questions_of_shard, read_questions, reserved_golds
    from lenscore.contexts.tables import answers_in_distractors_to_table, contexts_to_table, left_out_to_table
    from lenscore.lenses.overlap import check_study
    from lenscore.records import read_table, write_table
    from lenscore.sources.tables import QUESTIONS

    dataset = read_questions(read_table(job.inputs.questions, QUESTIONS).to_pylist())
    check_study(dataset, **check.model_dump())
    built = build_contexts(
        dataset,
        questions_of_shard(dataset, job.order, job.first, job.end),
        first_place=job.first,
        set_name=job.context_set,
        spec=job.spec,
        template=job.template,
        missing_answer=job.missing_answer,
        answer_in_distractors=job.answer_in_distractors,
        reserved=reserved_golds(dataset, job.order),
    )
    write_table(left_out_to_table(built.left_out), job.outputs.left_out)
    write_table(answers_in_distractors_to_table(built.answers_in_distractors), job.outputs.answers_in_distractors)
    write_table(contexts_to_table(built.contexts), job.outputs.contexts)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        planned = ContextsJob.model_validate(snakemake.params.job)
        with planned.with_files(snakemake.input, snakemake.output) as job:
            run(job, StudyCheck.model_validate(snakemake.params.check))
