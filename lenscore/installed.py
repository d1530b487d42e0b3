"""Where the workflow's files are: in a checkout, or in the installed package."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def workflow_folder() -> Path:
    """Return the folder of ``Snakefile``, ``rules``, ``workflow_scripts``, ``config.yaml`` and ``studies``."""
    installed = _PACKAGE / "workflow"  # where the wheel puts them
    return installed if (installed / "Snakefile").is_file() else _PACKAGE.parent
