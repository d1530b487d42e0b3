"""TransformerLens's own environment, made once: its dependencies are not this project's."""

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.lens.protocol import CHECKOUT

VERSION = "4.3.0"
FOLDER = CHECKOUT / ".bench/transformerlens"
_CONSTRAINTS = CHECKOUT / "constraints.txt"


def transformerlens_python() -> Path:
    """Return the environment's interpreter; make the environment first where it is missing or of other pins.

    What it shares with this project (torch and transformers above all) is of the same version, so that libraries
    are compared and not versions.

    Raises:
        subprocess.CalledProcessError: pip, which says why.
    """
    python = FOLDER / "bin/python"
    made = FOLDER / "made-of.txt"
    pins = f"transformer-lens=={VERSION}\n{_CONSTRAINTS.read_text()}"
    if not made.is_file() or made.read_text() != pins:
        print(f"making {FOLDER.relative_to(CHECKOUT)}: TransformerLens {VERSION}", file=sys.stderr)
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.parent.mkdir(exist_ok=True)
        _run(sys.executable, "-m", "venv", FOLDER)
        install = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run(*install, "--constraint", _CONSTRAINTS, "torch", f"transformer-lens=={VERSION}")
        made.write_text(pins)
    return python


def _run(*command: str | Path) -> None:
    # Not in the checkout, whose lenscore.egg-info pip would take for an installed package.
    subprocess.run(command, check=True, stdout=sys.stderr, cwd=FOLDER.parent)
