"""Verify every file of a study, of its models and of its dataset against the hashes that were recorded of it."""

import logging
from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log
from lenscore.plan.rules.verify import VerifyJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(job: VerifyJob) -> None:
    """Log what is wrong, a line a file, or that nothing is.

    Raises:
        DamagedFileError: something is wrong; the message has the command that mends it.
    """
    from lenscore.errors import DamagedFileError
    from lenscore.hashes import advice, verify

    log = logging.getLogger("lenscore")
    found = verify([(made.files, made.hashes) for made in job.made])
    for fault in found.faults:
        log.error("%s", fault.message)
    counts = f"{found.files} files of {found.jobs} jobs verified, {len(job.made) - found.jobs} jobs not done yet"
    if found.faults:
        raise DamagedFileError(f"{counts}; wrong: {len(found.faults)}; {advice(f.output for f in found.faults)}")
    log.info("%s: all are as they were made", counts)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        run(VerifyJob.model_validate(snakemake.params.job))
