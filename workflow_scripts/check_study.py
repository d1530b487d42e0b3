"""Check a study against its dataset and models, before anything takes time."""

from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log
from lenscore.plan.rules.check_study import CheckJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(job: CheckJob) -> None:
    """Refuse what could not be finished; write down what was checked."""
    from lenscore.contexts.questions import read_questions
    from lenscore.files import write_json
    from lenscore.lenses.texts import check_questions
    from lenscore.models.loading import n_blocks_by_config
    from lenscore.records import QUESTIONS, read_table, refuse_too_many_blocks

    dataset = read_questions(read_table(job.inputs.questions, QUESTIONS).to_pylist())
    check_questions(
        dataset, job.order, n_questions=job.n_questions, n_train=job.n_trained_on, n_held_out=job.n_held_out
    )
    blocks = {name: n_blocks_by_config(folder) for name, folder in zip(job.models, job.inputs.models, strict=True)}
    for name, n_blocks in blocks.items():
        refuse_too_many_blocks(name, n_blocks or 0)
    write_json(job.outputs.checked, {"questions_of_the_dataset": len(dataset), "blocks": blocks})


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        job = CheckJob.model_validate(snakemake.params.job).at(snakemake.input, snakemake.output)
        run(job)
