"""Run the lens over the contexts of one shard."""

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
    identity: Mapping[str, Any],
    spec: Mapping[str, Any],
    tuned_lens: Path | None,
    threads: int,
    outputs: Mapping[str, Path],
    kept: Path,
) -> None:
    """Read the contexts, extract what an earlier extraction has not left, write the three tables."""
    from lenscore.extraction.fitting import Overflow
    from lenscore.extraction.record_cache import keep, keys_of_lenses, with_kept
    from lenscore.extraction.shard import RunSettings, extract_shard
    from lenscore.jobs.spent import write_spent
    from lenscore.records import CONTEXTS, read_table, write_table
    from lenscore.study.extraction import ExtractionSpec

    lenses = {name: tuned_lens if name == "tuned" else None for name in spec["lenses"]}
    settings = {key: value for key, value in spec.items() if key != "lenses"}
    shard = with_kept(
        kept,
        lenses,
        keys_of_lenses(contexts, model, lenses, settings),
        lambda missing: extract_shard(
            read_table(contexts, CONTEXTS),
            model,
            settings=RunSettings(
                spec["dtype"], spec["matmul"], spec["window"], Overflow(spec["overflow"], spec["cut"])
            ),
            extraction=ExtractionSpec.model_validate(spec["extraction"]),
            lenses=missing,
            threads=threads,
        ),
    )
    write_table(shard.fits, outputs["fits"])
    write_table(shard.answer_tokens, outputs["answer_tokens"])
    write_table(shard.records, outputs["records"], {**shard.facts, **identity})
    write_spent(outputs["spent"])
    keep(outputs, kept)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        check_source(Path(snakemake.input.model), snakemake.params.source)
        wildcards = snakemake.wildcards
        main(
            Path(snakemake.input.contexts),
            Path(snakemake.input.model),
            {"model": wildcards.model, "context_set": wildcards.set, "shard": int(wildcards.shard)},
            snakemake.params.spec,
            Path(snakemake.input.lens[0]) if snakemake.input.lens else None,
            snakemake.threads,
            {name: Path(path) for name, path in snakemake.output.items()},
            Path(snakemake.params.kept),
        )
