"""Run the lenses over the contexts of one shard."""

from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log
from lenscore.plan.rules.extract_shard import ExtractJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def run(job: ExtractJob, threads: int) -> None:
    """Read the contexts, extract what the cache does not hold, write the three tables."""
    import dataclasses

    from lenscore.contexts.tables import contexts_from_table
    from lenscore.extraction.record_cache import RecordCache, record_keys
    from lenscore.extraction.shard import extract_shard
    from lenscore.jobs.spent import write_spent
    from lenscore.lenses.files import model_files, refuse_overlap, trained_on
    from lenscore.models.device import resolve_device
    from lenscore.records import CONTEXTS, read_table, write_table

    contexts = read_table(job.inputs.contexts, CONTEXTS)
    for manifest in job.inputs.lens_manifests:
        refuse_overlap(trained_on(manifest), contexts["question_id"].to_pylist())
    lenses = dict.fromkeys(job.lenses) | dict(zip(job.trained, job.inputs.lenses, strict=True))
    settings = {
        "run": dataclasses.asdict(job.settings),
        "top_k": job.extraction.top_k,
        "device": resolve_device(job.extraction.device),
        "libraries": job.libraries,
    }
    keys = record_keys(contexts, model_files(job.inputs.model), lenses, job.lens_code, settings)
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
    identity = {"model": job.model, "context_set": job.context_set, "shard": job.shard}
    write_table(shard.records, job.outputs.records, {**shard.facts, **identity})
    write_spent(job.outputs.spent)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        job = ExtractJob.model_validate(snakemake.params.job).at(snakemake.input, snakemake.output)
        run(job, snakemake.threads)
