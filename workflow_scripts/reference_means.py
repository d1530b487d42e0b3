"""Take the blocks' mean contributions over a context set's first questions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscore.jobs.log import job_log
from lenscore.sources.manifest import check_source

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    contexts: Sequence[Path],
    model: Path,
    spec: Mapping[str, Any],
    threads: int,
    outputs: Mapping[str, Path],
) -> None:
    """Run the model over the first questions' contexts, write the means."""
    from lenscore.ablation.means import reference_means, write_means
    from lenscore.contexts.tables import contexts_from_table
    from lenscore.extraction.fitting import Overflow
    from lenscore.extraction.shard import Reading
    from lenscore.jobs.spent import write_spent
    from lenscore.records import CONTEXTS, read_table

    reference = reference_means(
        [context for path in contexts for context in contexts_from_table(read_table(path, CONTEXTS))],
        model,
        n_questions=spec["questions"],
        documents=spec["documents"],
        reading=Reading(spec["dtype"], spec["matmul"], spec["window"], Overflow(spec["overflow"], spec["cut"])),
        device=spec["device"],
        threads=threads,
    )
    write_means(reference, outputs["means"])
    write_spent(outputs["spent"])


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        check_source(Path(snakemake.input.model), snakemake.wildcards.model, snakemake.params.source)
        main(
            [Path(path) for path in snakemake.input.contexts],
            Path(snakemake.input.model),
            snakemake.params.spec,
            snakemake.threads,
            {name: Path(path) for name, path in snakemake.output.items()},
        )
