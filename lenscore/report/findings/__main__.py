"""Write a finished study's findings: ``python -m lenscore.report.findings results/<study> docs``."""

import argparse
import sys
from pathlib import Path

from lenscore.errors import LenscoreError
from lenscore.report.findings.documents import write_documents
from lenscore.report.findings.results import Results


def main() -> int:
    """Write the documents; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lenscore.report.findings", description=__doc__)
    parser.add_argument("study", type=Path, help="the folder of a finished study")
    parser.add_argument("docs", type=Path, help="the folder to write to")
    given = parser.parse_args()
    database = given.study / f"{given.study.resolve().name}.duckdb"
    tables, charts = given.study / "tables", given.study / "charts"
    try:
        for needed in (database, tables, charts):
            if not needed.exists():
                raise FileNotFoundError(f"{needed} is not there; is the study finished?")
        written = write_documents(Results(database, tables), charts, given.docs)
    except (LenscoreError, FileNotFoundError) as error:
        print(f"{given.study}: no findings were written: {error}", file=sys.stderr)
        return 1
    print(*written, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
