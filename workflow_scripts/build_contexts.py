"""Build the contexts of one shard of a context set."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscore.jobs.log import job_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    questions: Path, template: Path, set_name: str, spec: Mapping[str, Any], contexts: Path, left_out: Path
) -> None:
    """Read the dataset and the template, build, write both tables."""
    from lenscore.contexts.build import build_contexts
    from lenscore.contexts.prompts import read_template
    from lenscore.contexts.questions import questions_of_shard, read_questions
    from lenscore.contexts.tables import contexts_to_table, left_out_to_table
    from lenscore.records import QUESTIONS, read_table, write_table
    from lenscore.study.context_sets import ContextSetSpec

    dataset = read_questions(read_table(questions, QUESTIONS).to_pylist())
    built, without_answer = build_contexts(
        dataset,
        questions_of_shard(dataset, spec["order"], spec["first"], spec["end"]),
        first_place=spec["first"],
        set_name=set_name,
        spec=ContextSetSpec.model_validate(spec["set"]),
        template=read_template(template),
        missing_answer=spec["missing_answer"],
    )
    write_table(left_out_to_table(without_answer), left_out)
    write_table(contexts_to_table(built), contexts)


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        main(
            Path(snakemake.input.questions),
            Path(snakemake.input.template),
            snakemake.wildcards.set,
            snakemake.params.spec,
            Path(snakemake.output.contexts),
            Path(snakemake.output.left_out),
        )
