"""Faults that are found before hours are spent: by the scripts, before a model is loaded or a file is written."""

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lenscore.contexts.build import build_contexts
from lenscore.contexts.questions import Question, read_questions, study_order
from lenscore.contexts.tables import contexts_to_table
from lenscore.errors import ConfigError, LenscoreError, SourceError, StoreError
from lenscore.extraction.shard import extract_shard
from lenscore.plan.check import StudyCheck
from lenscore.records import write_table
from lenscore.sources.check import check_sources
from lenscore.sources.formats import read_questions as read_rows
from lenscore.sources.local_files import EMBEDDED
from lenscore.sources.rows import rows_of_file
from lenscore.study.context_sets import ContextSetSpec
from lenscore.study.extraction import ExtractionSpec
from lenscore.study.prompt import read_template, template_path
from lenscore.study.run_settings import RunSettings
from lenscore.study.study import read_study
from tests.conftest import ROOT
from tests.plans import plan_of
from tests.small_study import LOGIT


def run_of(rule: str) -> Callable[..., None]:
    """Return what a rule's script runs."""
    run: Callable[..., None] = runpy.run_path(str(ROOT / f"workflow_scripts/{rule}.py"), run_name="imported")["run"]
    return run


def job_of(rule: str, config: dict[str, Any], wildcards: dict[str, str], folder: Path) -> Any:
    """Return a job of the tiny study whose files are in a folder."""
    module = runpy.run_path(str(ROOT / f"workflow_scripts/{rule}.py"), run_name="imported")
    (job_class,) = (value for name, value in module.items() if name.endswith("Job"))
    job = plan_of(config).job(rule)(wildcards)

    def moved(files: dict[str, Any]) -> dict[str, Any]:
        return {
            name: [str(folder / path) for path in paths] if isinstance(paths, list) else str(folder / paths)
            for name, paths in files.items()
        }

    return job_class.model_validate(job).at(moved(job["inputs"]), moved(job["outputs"]))


def asking(n_questions: int, n_trained_on: int = 0, n_held_out: int = 0) -> StudyCheck:
    return StudyCheck(order=0, n_questions=n_questions, n_trained_on=n_trained_on, n_held_out=n_held_out)


@pytest.fixture
def dataset(tmp_path: Path, study_config: dict[str, Any]) -> list[Question]:
    """The embedded questions, at the place where the tiny study's jobs read them."""
    table = read_rows(rows_of_file(EMBEDDED, "own"), "own").table
    job = job_of("build_contexts", study_config, {"set": "main", "shard": "0000"}, tmp_path)
    write_table(table, job.inputs.questions)
    return read_questions(table.to_pylist())


def test_a_study_of_more_questions_than_there_are_builds_no_context(
    tmp_path: Path, study_config: dict[str, Any], dataset: list[Question]
) -> None:
    job = job_of("build_contexts", study_config, {"set": "main", "shard": "0000"}, tmp_path)
    with pytest.raises(ConfigError, match=rf"questions: {len(dataset) + 1} or more are asked for, but the dataset has"):
        run_of("build_contexts")(job, asking(len(dataset) + 1))
    # Nor one that asks what its lens was trained on: contexts are built before anything is extracted.
    with pytest.raises(ConfigError, match=r"questions: 12 of \d+ questions that the study asks are among the 12"):
        run_of("build_contexts")(job, asking(len(dataset), 8, 4))
    assert not job.outputs.contexts.exists()
    run_of("build_contexts")(job, asking(len(dataset)))
    assert job.outputs.contexts.exists()


def test_a_lens_is_not_trained_on_the_studys_questions(
    tmp_path: Path, study_config: dict[str, Any], dataset: list[Question]
) -> None:
    """The model is not there: the fault is found before it is loaded."""
    job = job_of("train_lens", study_config, {"model": "tiny", "lens": "tuned"}, tmp_path)
    n_lens = study_config["tuned_lens"]["questions"] + study_config["tuned_lens"]["held_out"]
    with pytest.raises(ConfigError, match=r"questions: 1 of \d+ questions that the study asks are among the 12"):
        run_of("train_lens")(job, asking(len(dataset) - n_lens + 1, 8, 4), 1)
    with pytest.raises(SourceError, match=r"tiny-\w+: .* cannot load config\.json"):
        run_of("train_lens")(job, asking(len(dataset) - n_lens, 8, 4), 1)


def test_a_shard_is_not_extracted_through_a_lens_that_was_trained_on_its_questions(
    tmp_path: Path, study_config: dict[str, Any], dataset: list[Question]
) -> None:
    """A study that has grown: the lens was trained when the question was not among the study's."""
    job = job_of("extract_shard", study_config, {"model": "tiny", "set": "main", "shard": "0000"}, tmp_path)
    (question,) = study_order(dataset, 0)[:1]
    contexts, *_ = build_contexts(
        dataset, [question], first_place=0, set_name="main", spec=ContextSetSpec(documents=[2], positions=2),
        template=read_template(template_path("few_shot")), missing_answer="error",
    )  # fmt: skip
    write_table(contexts_to_table(contexts), job.inputs.contexts)
    (manifest,) = job.inputs.lens_manifests
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"train": [question.question_id], "validation": [], "held_out": [], "sha256": ""}))
    with pytest.raises(ConfigError, match="questions: 1 of 1 questions that the study asks are among the 1"):
        run_of("extract_shard")(job, {}, 1)
    assert not job.outputs.records.exists()


def test_a_model_with_more_blocks_than_the_database_holds_is_not_extracted(tmp_path: Path, tiny_gpt2: Path) -> None:
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    AutoTokenizer.from_pretrained(tiny_gpt2).save_pretrained(tmp_path)
    GPT2LMHeadModel(GPT2Config(vocab_size=600, n_positions=64, n_embd=4, n_layer=127, n_head=1)).save_pretrained(
        tmp_path
    )
    with pytest.raises(StoreError, match=r"GPT2LMHeadModel .* has 127 blocks.*room for 126"):
        extract_shard(
            [], tmp_path, settings=RunSettings(), lenses=LOGIT, extraction=ExtractionSpec(device="cpu"),
            threads=1,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"questions": 100_000}, "questions: 100000 are asked for, but embedded:questions has 130"),
        ({"questions": 120}, "tuned_lens: 12 questions outside the study are needed"),
        ({"context_sets": {"main": {"documents": [2], "positions": [2]}}}, "gold index 2"),
        ({"context_sets": {"main": {"documents": [2], "positions": 2, "prompt": "none-such"}}}, "none-such"),
        ({"models": {"tiny": {"source": "path:no/such/folder"}}}, "models.tiny.source: no folder no/such/folder"),
        ({"dataset": {"source": "path:none.jsonl"}}, "none.jsonl: no such file"),
    ],
)
def test_what_is_not_there_is_refused_before_any_job(
    study_config: dict[str, Any], tiny_gpt2: Path, changes: dict[str, Any], says: str
) -> None:
    study = {**study_config, "models": {"tiny": {"source": f"path:{tiny_gpt2}"}}}
    check_sources(read_study(study), Path("no/manifest.json"))
    with pytest.raises(LenscoreError, match=re.escape(says)):
        check_sources(read_study({**study, **changes}), Path("no/manifest.json"))
