"""Load every shard of a study into its database."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscore.jobs.log import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


# Of a job's memory, DuckDB's share; the rest is for Python, tokenizers, and tables on their way.
SHARE_OF_DATABASE = 0.75


def main(
    inputs: Mapping[str, list[Path]], spec: Mapping[str, Any], threads: int, memory_mb: float, database: Path
) -> None:
    """Pair each shard's files with its names, and load them."""
    import duckdb

    from lenscore.contexts.questions import documents_of, questions_of_shard, read_questions
    from lenscore.lenses.texts import refuse_overlap
    from lenscore.records import QUESTIONS, read_table
    from lenscore.store.ablations import AblationShard
    from lenscore.store.database import ContextShard, LoadedModel, RecordShard, load_database

    config = spec["config"]
    dataset = read_questions(read_table(inputs["questions"][0], QUESTIONS).to_pylist())
    questions = questions_of_shard(dataset, config["seed"], 0, config["questions"])
    divergences: Sequence[Path | None] = inputs["divergences"]
    for path in inputs["lens_manifests"]:
        lens = json.loads(path.read_text(encoding="utf-8"))
        trained_on = [*lens["train"], *lens["validation"], *lens["held_out"]]
        refuse_overlap(trained_on, [question.question_id for question in questions])
    manifest = json.loads(inputs["dataset"][0].read_text(encoding="utf-8"))
    load_database(
        database,
        study={
            "study": config["study"],
            "config": config,
            "dataset": manifest,
            "extraction_code": spec["extraction_code"],
            "versions": {"snakemake": spec["snakemake"], "duckdb": duckdb.__version__},
        },
        questions=questions,
        documents=documents_of(dataset),
        models=[
            LoadedModel(name, model["dtype"], model["matmul"], folder, lens)
            for (name, model), folder, lens in zip(
                config["models"].items(), inputs["models"], divergences or [None] * len(inputs["models"]), strict=True
            )
        ],
        lenses=config["lenses"],
        context_shards=[
            ContextShard(*names, *files)
            for names, *files in zip(spec["context_shards"], inputs["contexts"], inputs["left_out"], strict=True)
        ],
        record_shards=[
            RecordShard(*names, *files)
            for names, *files in zip(
                spec["record_shards"], inputs["records"], inputs["answer_tokens"], inputs["fits"], strict=True
            )
        ],
        # A study without ablation has neither.
        ablation_shards=[
            AblationShard(*names, file)
            for names, file in zip(spec.get("ablation_shards", ()), inputs.get("ablations", ()), strict=True)
        ],
        scopes=config["ablation"]["scopes"],
        replacements=config["ablation"]["replacements"],
        threads=threads,
        memory_gb=SHARE_OF_DATABASE * memory_mb / 1000,
    )


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(
            {
                name: [Path(path) for path in ([paths] if isinstance(paths, str) else paths)]
                for name, paths in snakemake.input.items()
            },
            snakemake.params.spec,
            snakemake.threads,
            snakemake.resources.mem_mb,
            Path(snakemake.output.database),
        )
