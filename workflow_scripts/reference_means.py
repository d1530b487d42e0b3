"""Take the blocks' mean contributions over a context set's first questions."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscore.joblog import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(contexts: Path, model: Path, spec: Mapping[str, Any], threads: int, outputs: Mapping[str, Path]) -> None:
    """Read the contexts, run the model over them, write the means."""
    from lenscore.extraction.fitting import Overflow
    from lenscore.extraction.reference_means import reference_means, write_means
    from lenscore.extraction.shard import Reading
    from lenscore.extraction.spent import write_spent
    from lenscore.records import CONTEXTS, read_table

    reference = reference_means(
        read_table(contexts, CONTEXTS),
        model,
        questions=spec["questions"],
        documents=spec["documents"],
        reading=Reading(spec["dtype"], spec["matmul"], spec["window"], Overflow(spec["overflow"], spec["cut"])),
        device=spec["device"],
        threads=threads,
    )
    write_means(reference, outputs["means"])
    write_spent(outputs["spent"])


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(
            Path(snakemake.input.contexts),
            Path(snakemake.input.manifest).parent,
            snakemake.params.spec,
            snakemake.threads,
            {name: Path(path) for name, path in snakemake.output.items()},
        )
