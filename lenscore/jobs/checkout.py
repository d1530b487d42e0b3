"""lenscore in the jobs of the workflow, installed there or not."""

import os
from pathlib import Path

from lenscore.errors import ConfigError

_MEANT = ("{", "}", os.pathsep)


def importable_in_jobs(folder: Path) -> None:
    """Put the project's folder on the import path of every process that this one starts.

    A job's Python may be that of a conda environment, in which the project is not installed.

    Raises:
        ConfigError: the folder's path has a character that Snakemake or the import path gives a meaning.
    """
    if meant := sorted(set(str(folder)) & set(_MEANT)):
        raise ConfigError(
            f"the checkout lies in {str(folder)!r}; Snakemake takes braces for wildcards, and {os.pathsep!r} divides "
            f"import paths: move it to a folder without {' and '.join(meant)}"
        )
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
