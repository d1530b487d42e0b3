"""The name of a study, where its file is a valid one: ``python -m lenscore.study my-study.yaml``.

Snakemake reads a config before the project does, and ends in a traceback where it is broken: this says what is wrong.
"""

import argparse
import sys
from pathlib import Path

from lenscore.errors import LenscoreError
from lenscore.jobs.log import printable
from lenscore.study.study import read_study
from lenscore.study.yaml_files import read_config_file


def main() -> int:
    """Print the name, or what is wrong with the file; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lenscore.study", description=__doc__)
    parser.add_argument("file", type=Path, help="a study's config: YAML or JSON")
    file = parser.parse_args().file
    try:
        study = read_study(read_config_file(file))
    except LenscoreError as error:
        print(printable(str(error)), file=sys.stderr)
        return 1
    print(study.study)
    return 0


if __name__ == "__main__":
    sys.exit(main())
