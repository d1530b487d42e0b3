"""Choose the contexts that the explorer shows, and write down all that was recorded of them."""

from pathlib import Path
from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(database: Path, per_cell: int, csv: Path, parquet: Path) -> None:
    """Write the table of examples as CSV and Parquet."""
    from lenscore.analysis.examples import study_examples
    from lenscore.files import written_whole

    table = study_examples(database, per_cell)
    with written_whole(csv) as beside:
        table.to_csv(beside, index=False)
    with written_whole(parquet) as beside:
        table.to_parquet(beside, index=False)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(
            Path(snakemake.input.database),
            snakemake.params.spec["per_cell"],
            Path(snakemake.output.csv),
            Path(snakemake.output.parquet),
        )
