"""Train the tuned lens of a model on questions outside the study."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscore.jobs.log import job_log
from lenscore.sources.manifest import check_source

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(questions: Path, model: Path, spec: Mapping[str, Any], threads: int, outputs: Mapping[str, Path]) -> None:
    """Choose the texts, train, write translators, manifest and held-out divergences."""
    from lenscore.contexts.questions import read_questions
    from lenscore.jobs.spent import write_spent
    from lenscore.lenses.texts import lens_texts
    from lenscore.lenses.training import LensJob, run_lens_job
    from lenscore.records import QUESTIONS, read_table, write_table
    from lenscore.study.lenses import TunedLensSpec

    settings = TunedLensSpec.model_validate(spec["settings"])
    dataset = read_questions(read_table(questions, QUESTIONS).to_pylist())
    texts = lens_texts(dataset, spec["order"], settings.questions, settings.held_out)
    training, table, facts = run_lens_job(LensJob(model, spec["dtype"], spec["device"], threads), texts, settings)
    write_table(table, outputs["divergence"])
    training.translators.save(outputs["lens"], facts)
    write_spent(outputs["spent"])


if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        check_source(Path(snakemake.input.model), snakemake.wildcards.model, snakemake.params.source)
        main(
            Path(snakemake.input.questions),
            Path(snakemake.input.model),
            snakemake.params.spec,
            snakemake.threads,
            {name: Path(path) for name, path in snakemake.output.items()},
        )
