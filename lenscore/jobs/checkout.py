"""lenscore in the jobs of the workflow, installed there or not."""

import os
from pathlib import Path


def importable_in_jobs(folder: Path) -> None:
    """Put the project's folder on the import path of every process that this one starts.

    A job's Python may be that of a conda environment, in which the project is not installed.
    """
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
