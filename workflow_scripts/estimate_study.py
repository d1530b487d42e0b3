"""Say what a study will take, and refuse one for which this machine is too small."""

import logging
from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log
from lenscore.plan.rules.estimate_study import EstimateJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

_log = logging.getLogger("lenscore.estimate")


def run(job: EstimateJob, at_once: int) -> None:
    """Estimate, log it in words, write the numbers."""
    from lenscore.contexts.questions import read_questions
    from lenscore.estimate.estimate import estimate_study
    from lenscore.estimate.machine import Machine
    from lenscore.files import write_json
    from lenscore.records import read_table
    from lenscore.sources.tables import QUESTIONS
    from lenscore.study.study import read_study

    study = read_study(job.config)
    dataset = read_questions(read_table(job.inputs.questions, QUESTIONS).to_pylist())
    machine = Machine.here(job.outputs.estimate.parent, study.extraction.device)
    folders = dict(zip(study.models, job.inputs.models, strict=True))
    estimate = estimate_study(study, dataset, folders, at_once, machine)
    for line in estimate.lines(machine):
        _log.info("%s", line)
    estimate.refuse_if_too_large(machine)
    write_json(job.outputs.estimate, estimate.as_json(machine, job.config))


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        planned = EstimateJob.model_validate(snakemake.params.job)
        with planned.with_files(snakemake.input, snakemake.output) as job:
            run(job, snakemake.params.at_once)
