"""Ablate every block in the contexts of a shard's first questions."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscore.jobs.log import job_log
from lenscore.sources.manifest import check_source

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    questions: Path,
    contexts: Path,
    model: Path,
    means: Path | None,
    identity: Mapping[str, Any],
    spec: Mapping[str, Any],
    threads: int,
    outputs: Mapping[str, Path],
) -> None:
    """Find the questions by their places in the study's order, ablate, write the table."""
    from lenscore.ablation.shard import ablate_shard
    from lenscore.contexts.questions import questions_of_shard, read_questions
    from lenscore.extraction.fitting import Overflow
    from lenscore.extraction.shard import RunSettings
    from lenscore.jobs.spent import write_spent
    from lenscore.records import CONTEXTS, QUESTIONS, read_table, write_table
    from lenscore.study.ablation import AblationSpec

    dataset = read_questions(read_table(questions, QUESTIONS).to_pylist())
    chosen = questions_of_shard(dataset, spec["order"], spec["first"], spec["end"])
    shard = ablate_shard(
        read_table(contexts, CONTEXTS),
        model,
        questions={question.question_id for question in chosen},
        settings=RunSettings(spec["dtype"], spec["matmul"], spec["window"], Overflow(spec["overflow"], spec["cut"])),
        ablation=AblationSpec.model_validate(spec["ablation"]),
        means=means,
        device=spec["device"],
        threads=threads,
    )
    write_table(shard.ablations, outputs["ablations"], {**shard.facts, **identity})
    write_spent(outputs["spent"])


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        check_source(Path(snakemake.input.model), snakemake.params.source)
        wildcards = snakemake.wildcards
        main(
            Path(snakemake.input.questions),
            Path(snakemake.input.contexts),
            Path(snakemake.input.model),
            Path(snakemake.input.means[0]) if snakemake.input.means else None,
            {"model": wildcards.model, "context_set": wildcards.set, "shard": int(wildcards.shard)},
            snakemake.params.spec,
            snakemake.threads,
            {name: Path(path) for name, path in snakemake.output.items()},
        )
