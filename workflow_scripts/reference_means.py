"""Take the blocks' mean contributions over a context set's first questions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscore.jobs.log import job_log
from lenscore.sources.manifest import check_source

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    questions: Path,
    contexts: Sequence[Path],
    model: Path,
    spec: Mapping[str, Any],
    threads: int,
    outputs: Mapping[str, Path],
) -> None:
    """Find the first questions' contexts, run the model over them, write the means."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from lenscore.ablation.means import reference_means, write_means
    from lenscore.contexts.questions import questions_of_shard, read_questions
    from lenscore.extraction.fitting import Overflow
    from lenscore.extraction.shard import RunSettings
    from lenscore.jobs.spent import write_spent
    from lenscore.records import CONTEXTS, QUESTIONS, read_table

    dataset = read_questions(read_table(questions, QUESTIONS).to_pylist())
    first = [question.question_id for question in questions_of_shard(dataset, spec["order"], 0, spec["questions"])]
    table = pa.concat_tables([read_table(path, CONTEXTS) for path in contexts])
    reference = reference_means(
        table.filter(pc.is_in(table["question_id"], pa.array(first))),
        model,
        questions=spec["questions"],
        documents=spec["documents"],
        settings=RunSettings(spec["dtype"], spec["matmul"], spec["window"], Overflow(spec["overflow"], spec["cut"])),
        device=spec["device"],
        threads=threads,
    )
    write_means(reference, outputs["means"])
    write_spent(outputs["spent"])


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        check_source(Path(snakemake.input.model), snakemake.params.source)
        main(
            Path(snakemake.input.questions),
            [Path(path) for path in snakemake.input.contexts],
            Path(snakemake.input.model),
            snakemake.params.spec,
            snakemake.threads,
            {name: Path(path) for name, path in snakemake.output.items()},
        )
