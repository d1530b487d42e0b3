"""Run the lenses over the contexts of one shard."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log
from lenscore.plan.rules.extract_shard import ExtractJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(job: ExtractJob, versions: Mapping[str, str], threads: int) -> None:
    """Read the contexts, extract what the cache does not hold, write the three tables."""
    from lenscore.contexts.tables import CONTEXTS, contexts_from_table
    from lenscore.extraction.record_cache import RecordCache, record_keys
    from lenscore.extraction.shard import extract_shard
    from lenscore.jobs.spent import write_spent
    from lenscore.lenses.files import model_files, read_manifest
    from lenscore.lenses.overlap import refuse_overlap
    from lenscore.lenses.registry import LensSource
    from lenscore.models.device import resolve_device
    from lenscore.records import made_from, read_table, write_table

    contexts = read_table(job.inputs.contexts, CONTEXTS)
    lenses = {name: LensSource(module) for name, module in job.lenses.items()}
    trained: dict[str, str] = {}
    for name, file, manifest in zip(job.trained, job.inputs.lenses, job.inputs.lens_manifests, strict=True):
        facts = read_manifest(manifest)
        refuse_overlap([*facts["train"], *facts["validation"], *facts["held_out"]], contexts["question_id"].to_pylist())
        lenses[name], trained[name] = replace(lenses[name], file=file), facts["sha256"]
    settings = {
        "run": asdict(job.settings),
        "extraction": job.extraction.model_dump(mode="json") | {"device": resolve_device(job.extraction.device)},
    }
    keys = record_keys(contexts, model_files(job.inputs.model), list(lenses), trained, versions, settings)
    shard = RecordCache(job.cache).shard(
        keys,
        lambda names: extract_shard(
            contexts_from_table(contexts),
            job.inputs.model,
            settings=job.settings,
            lenses={name: lenses[name] for name in names},
            extraction=job.extraction,
            threads=threads,
        ),
    )
    write_table(shard.fits, job.outputs.fits)
    write_table(shard.answer_tokens, job.outputs.answer_tokens)
    made = made_from(job.inputs.contexts, job.inputs.model)
    write_table(shard.records, job.outputs.records, {**shard.facts, **job.identity, "made_from": made})
    write_spent(job.outputs.spent)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        planned = ExtractJob.model_validate(snakemake.params.job)
        with planned.with_files(snakemake.input, snakemake.output) as job:
            run(job, snakemake.params.versions, snakemake.threads)
