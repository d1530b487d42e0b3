"""Rule fetch_model: ModelSpec → resources/models/<model>/."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscore.jobs.log import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(spec: Mapping[str, Any], folder: Path, name: str) -> None:
    """Fill ``folder`` with the model that ``spec`` (fields of a ModelSpec) describes."""
    from lenscore.sources.models import fetch_model
    from lenscore.study.models import ModelSpec

    fetch_model(ModelSpec.model_validate(spec), folder, name)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(snakemake.params.spec, Path(snakemake.output.folder), snakemake.wildcards.model)
