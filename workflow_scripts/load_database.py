"""Load every shard of a study into its database."""

from typing import TYPE_CHECKING

from lenscore.jobs.log import job_log
from lenscore.plan.rules.load_database import LoadJob

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

# Of a job's memory, DuckDB's share; the rest is for Python, tokenizers, and tables on their way.
SHARE_OF_DATABASE = 0.75


def run(job: LoadJob, threads: int, memory_mb: float) -> None:
    """Give each model and shard its files, and load them."""
    import json
    from importlib.metadata import version
    from pathlib import Path

    from lenscore.contexts.questions import documents_of, read_questions
    from lenscore.records import read_table
    from lenscore.sources.tables import QUESTIONS
    from lenscore.store.ablations import AblationShard
    from lenscore.store.database import ContextShard, ModelEntry, RecordShard, load_database

    files = job.inputs
    dataset = read_questions(read_table(files.questions, QUESTIONS).to_pylist())

    def of_lenses(given: list[Path]) -> dict[str, dict[str, Path]]:
        """Return the files that each model's trained lenses have, by model and lens."""
        found: dict[str, dict[str, Path]] = {model.name: {} for model in job.models}
        for (model, lens), file in zip(job.divergences, given, strict=True):
            found[model][lens] = file
        return found

    divergences, manifests = of_lenses(files.divergences), of_lenses(files.lens_manifests)
    load_database(
        job.outputs.database,
        study={
            "study": job.study,
            "config": job.config,
            "dataset": json.loads(files.dataset.read_text(encoding="utf-8")),
            "extraction_code": job.extraction_code,
            "versions": {name: version(name) for name in ("snakemake", "duckdb")},
        },
        questions=dataset,
        documents=documents_of(dataset),
        models=[
            ModelEntry(model.name, model.dtype, model.matmul, folder, divergences[model.name], manifests[model.name])
            for model, folder in zip(job.models, files.models, strict=True)
        ],
        lenses=job.lenses,
        context_shards=[
            ContextShard(*names, *of_shard)
            for names, *of_shard in zip(
                job.context_shards, files.contexts, files.left_out, files.answers_in_distractors, strict=True
            )
        ],
        record_shards=[
            RecordShard(*names, *of_shard)
            for names, *of_shard in zip(job.record_shards, files.records, files.answer_tokens, files.fits, strict=True)
        ],
        ablation_shards=[
            AblationShard(*names, file) for names, file in zip(job.ablation_shards, files.ablations, strict=True)
        ],
        scopes=job.scopes,
        replacements=job.replacements,
        threads=threads,
        memory_gb=SHARE_OF_DATABASE * memory_mb / 1000,
    )


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        planned = LoadJob.model_validate(snakemake.params.job)
        with planned.with_files(snakemake.input, snakemake.output) as job:
            run(job, snakemake.threads, snakemake.resources.mem_mb)
