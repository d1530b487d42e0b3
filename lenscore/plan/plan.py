"""The plan of one study, as the rules read it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lenscore.plan import paths
from lenscore.plan.code_versions import CodeVersions
from lenscore.plan.contents import Contents
from lenscore.plan.job import Job
from lenscore.plan.rules.verify import MadeFiles, VerifyJob
from lenscore.plan.study_jobs import StudyJobs, Wildcards
from lenscore.study.study import Study


class Plan:
    """What the rules ask of a study.

    Args:
        study: the config.
        code: versions of the code.
        contents: of the files that sources name.
    """

    def __init__(self, study: Study, code: CodeVersions, contents: Contents):
        self._study = study
        self._jobs = StudyJobs(study, code, contents)

    def job(self, rule: str) -> Callable[[Wildcards], dict[str, Any]]:
        """Return the function that gives the parameter ``job`` of a rule: the job as JSON."""
        return lambda wildcards: self._job(rule, wildcards).model_dump(mode="json")

    def versions(self, rule: str) -> Callable[[Wildcards], dict[str, str]]:
        """Return the function that gives the parameter ``versions`` of a rule."""
        return lambda wildcards: self._jobs.versions.of(rule, dict(wildcards.items()))

    def inputs(self, rule: str) -> Callable[[Wildcards], dict[str, str | list[str]]]:
        """Return the function that gives a rule's inputs by name."""
        return lambda wildcards: self._job(rule, wildcards).inputs.paths()

    def all_jobs(self) -> dict[str, list[Wildcards]]:
        """Return the wildcards of every job of the study, by rule, in the order in which the rules run."""
        return self._jobs.wildcards()

    @property
    def page(self) -> str:
        """The study's page, for which everything else is made."""
        return str(paths.OUTPUTS["render_report"]["page"]).format(study=self._study.study)

    @property
    def estimate(self) -> str:
        """What the study will take."""
        return str(paths.OUTPUTS["estimate_study"]["estimate"]).format(study=self._study.study)

    def check(self) -> dict[str, int]:
        """Return what the first jobs that read the dataset check it for, as JSON."""
        return self._jobs.check().model_dump(mode="json")

    @property
    def wildcards(self) -> dict[str, list[str]]:
        """The values that wildcards may have, but for shards, which are numbers."""
        return {
            "study": [self._study.study],
            "dataset": [self._study.dataset.name],
            "model": list(self._study.models),
            "model_folder": list(self._jobs.model_of_folder),
            "set": list(self._study.context_sets),
            "lens": self._jobs.trained or ["none"],
        }

    @property
    def fetched(self) -> list[Path]:
        """The files that are there once the study's models and its dataset have been fetched."""
        jobs = (self._job(rule, wildcards) for rule in paths.SHARED for wildcards in self.all_jobs()[rule])
        return [job.outputs.hashes for job in jobs]

    def verify(self) -> dict[str, Any]:
        """Return what rule verify is to verify, as JSON."""
        jobs = [self._job(rule, wildcards) for rule, of_rule in self.all_jobs().items() for wildcards in of_rule]
        made = [MadeFiles(files=list(job.outputs.where(job.outputs)), hashes=job.outputs.hashes) for job in jobs]
        return VerifyJob(made=made).model_dump(mode="json")

    def _job(self, rule: str, wildcards: Wildcards) -> Job:
        job: Job = getattr(self._jobs, rule)(dict(wildcards.items()))
        return job
