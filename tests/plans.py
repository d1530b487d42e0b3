"""Plans of studies without a workflow: which jobs a change makes stale, by Snakemake's own rules."""

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from lenscore.plan.code_versions import CodeVersions
from lenscore.plan.plan import Plan
from lenscore.study.dataset import DatasetSpec
from lenscore.study.models import ModelSpec
from lenscore.study.study import read_study
from tests.conftest import ROOT

CODE = CodeVersions(ROOT)


class MadeContents:
    """Stands in for files on the disk: their content is what the test says."""

    def __init__(self, model: str = "weights", dataset: str = "questions"):
        self._model, self._dataset = model, dataset

    def of_model(self, source: ModelSpec, name: str) -> dict[str, str]:
        return {"model.safetensors": self._model} if source.source.startswith("path:") else {}

    def of_dataset(self, source: DatasetSpec) -> dict[str, str]:
        return {} if source.source.startswith(("url:", "hub:")) else {"questions.jsonl": self._dataset}


def plan_of(config: dict[str, Any], contents: MadeContents | None = None, code: CodeVersions = CODE) -> Plan:
    return Plan(read_study(config), code, contents or MadeContents())


def jobs_of(plan: Plan) -> dict[tuple[str, ...], tuple[str, dict[str, Any], dict[str, str]]]:
    """Return rule and parameters (job, versions) of each of a plan's jobs, by its outputs."""
    return {
        outputs_of(job): (rule, job, versions)
        for rule, of_rule in plan.all_jobs().items()
        for job, versions in ((plan.job(rule)(wildcards), plan.versions(rule)(wildcards)) for wildcards in of_rule)
    }


def outputs_of(job: dict[str, Any]) -> tuple[str, ...]:
    return tuple(_flat(job["outputs"]))


def _flat(files: dict[str, str | list[str]]) -> list[str]:
    return [path for paths in files.values() for path in ([paths] if isinstance(paths, str) else paths)]


def stale(before: Plan, after: Plan) -> Counter[str]:
    """Return how many jobs of each rule run when a finished study is changed.

    As Snakemake does it: a job runs if its outputs were not made by a job with the same parameters, or if a job runs
    that makes one of its inputs. Rules come in the order in which they run, so one pass is enough.
    """
    made = jobs_of(before)
    running: set[str] = set()
    counts: Counter[str] = Counter()
    for outputs, (rule, job, versions) in jobs_of(after).items():
        if made.get(outputs) != (rule, job, versions) or running.intersection(_flat(job["inputs"])):
            running.update(outputs)
            counts[rule] += 1
    return counts


def changed_code(folder: Path, file: str, old: str, new: str) -> CodeVersions:
    """Return the versions of the project's code with one change.

    Args:
        folder: an empty folder, to which the code is copied.
        file: what is changed, relative to the project.
        old: text that stands in it.
        new: what replaces it.
    """
    for name in ("lenscore", "workflow_scripts"):
        ignored = shutil.ignore_patterns("__pycache__", "*.jsonl")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored, copy_function=os.symlink)
    text = (ROOT / file).read_text(encoding="utf-8")
    assert old in text, f"{file} has no {old!r}"
    (folder / file).unlink()
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    return CodeVersions(folder)
