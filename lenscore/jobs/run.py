"""The run of Snakemake that a job belongs to: a job that finds it useless may end it."""

import os
import signal

# Environment variable: the process of the run.
RUN = "LENSCORE_RUN"


def end_run() -> None:
    """Have no more jobs started, although others could go on; those that run are let end.

    Does nothing in a job that a scheduler has started elsewhere: the run is not among its parents there.
    """
    import psutil

    run = os.environ.get(RUN, "")
    if run in {str(parent.pid) for parent in psutil.Process().parents()}:
        os.kill(int(run), signal.SIGTERM)
