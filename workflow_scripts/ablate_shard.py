"""Ablate every block in the contexts of a shard's first questions."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscore.jobs.log import job_log
from lenscore.sources.manifest import check_source

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    contexts: Path,
    model: Path,
    means: Path | None,
    identity: Mapping[str, Any],
    spec: Mapping[str, Any],
    threads: int,
    outputs: Mapping[str, Path],
) -> None:
    """Ablate in the contexts of the study's first questions, write the table."""
    from lenscore.ablation.shard import ablate_shard
    from lenscore.contexts.tables import contexts_from_table
    from lenscore.extraction.fitting import Overflow
    from lenscore.extraction.shard import Reading
    from lenscore.jobs.spent import write_spent
    from lenscore.records import CONTEXTS, read_table, write_table
    from lenscore.study.ablation import AblationSpec

    shard = ablate_shard(
        contexts_from_table(read_table(contexts, CONTEXTS)),
        model,
        n_questions=spec["end"],
        reading=Reading(spec["dtype"], spec["matmul"], spec["window"], Overflow(spec["overflow"], spec["cut"])),
        ablation=AblationSpec.model_validate(spec["ablation"]),
        means=means,
        device=spec["device"],
        threads=threads,
    )
    write_table(shard.ablations, outputs["ablations"], {**shard.facts, **identity})
    write_spent(outputs["spent"])


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        check_source(Path(snakemake.input.model), snakemake.wildcards.model, snakemake.params.source)
        wildcards = snakemake.wildcards
        main(
            Path(snakemake.input.contexts),
            Path(snakemake.input.model),
            Path(snakemake.input.means[0]) if snakemake.input.means else None,
            {"model": wildcards.model, "context_set": wildcards.set, "shard": int(wildcards.shard)},
            snakemake.params.spec,
            snakemake.threads,
            {name: Path(path) for name, path in snakemake.output.items()},
        )
