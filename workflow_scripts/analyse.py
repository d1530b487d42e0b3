"""Make the study's tables and findings from its database."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscore.jobs.log import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(database: Path, spec: Mapping[str, Any], findings: Path) -> None:
    """Write each table as CSV and Parquet, and the findings, into the findings' folder."""
    from lenscore.analysis.tables import study_tables
    from lenscore.files import write_json, written_whole
    from lenscore.study.analysis import AnalysisSpec

    settings = AnalysisSpec.model_validate({key: value for key, value in spec.items() if key != "code"})
    tables, found = study_tables(database, settings)
    for name, table in tables.items():
        with written_whole(findings.with_name(f"{name}.csv")) as beside:
            table.to_csv(beside, index=False)
        with written_whole(findings.with_name(f"{name}.parquet")) as beside:
            table.to_parquet(beside, index=False)
    write_json(findings, found)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(Path(snakemake.input.database), snakemake.params.spec, Path(snakemake.output.findings))
