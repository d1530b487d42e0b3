"""Rule fetch_dataset: DatasetSpec → resources/datasets/<dataset>/."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscore.jobs.log import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(spec: Mapping[str, Any], manifest: Path) -> None:
    """Fill the folder of ``manifest`` with the dataset that ``spec`` (fields of a DatasetSpec) describes."""
    from lenscore.sources.datasets import fetch_dataset
    from lenscore.study.dataset import DatasetSpec

    fetch_dataset(DatasetSpec.model_validate(spec), manifest.parent)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(snakemake.params.spec, Path(snakemake.output.manifest))
