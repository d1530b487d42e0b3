import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# lenscore is used from the checkout, here and in every job.
sys.path.insert(0, workflow.basedir)

from lenscore.errors import LenscoreError
from lenscore.estimate.said import said_before
from lenscore.hashes import KnownHashes
from lenscore.jobs.checkout import importable_in_jobs
from lenscore.jobs.log import printable
from lenscore.plan import paths
from lenscore.plan.code_versions import CodeVersions
from lenscore.plan.plan import Plan
from lenscore.report.contents import CHARTS
from lenscore.sources.check import check_sources
from lenscore.sources.contents import SourceContents
from lenscore.study.config_arguments import check_config_arguments
from lenscore.study.study import read_study
from lenscore.study.yaml_files import read_config_file

try:
    importable_in_jobs(Path(workflow.basedir))
    if workflow.is_main_process:
        for file in workflow.configfiles:
            read_config_file(Path(file))
        check_config_arguments(workflow.config_settings.config_args or [])
    STUDY = read_study(config)
    # A job that a scheduler starts reads this file again, and may be where the study's own files are not.
    if workflow.is_main_process:
        check_sources(STUDY, Path(paths.DATASET.format(dataset=STUDY.dataset.name)))
    PLAN = Plan(STUDY, CodeVersions(Path(workflow.basedir)), SourceContents(Path(paths.CONTENTS)))
except LenscoreError as error:
    raise WorkflowError(printable(str(error))) from None

# What jobs check is read once in each workflow, however large it is.
if workflow.is_main_process and not workflow.output_settings.dryrun:
    KnownHashes(Path(paths.CONTENTS)).forget([Path(paths.RESOURCES), Path(paths.RESULTS.format(study=STUDY.study))])

# What a job that runs a model asks a scheduler for: a GPU where the study demands one. Otherwise nothing, not even 0
# GPUs, which some executors read as a request. With device: auto a job uses a GPU that is there, and asks for none.
GPU_OF_A_MODEL = {"gpu": 1} if STUDY.extraction.device == "cuda" else {}


wildcard_constraints:
    **{name: "|".join(map(re.escape, values)) for name, values in PLAN.wildcards.items()},
    shard=r"\d\d\d\d+",


def grows(first):
    """Return a resource that grows with every attempt: what a scheduler killed for too little gets more."""

    def amount(wildcards, attempt):
        return first * attempt

    return amount


# Jobs that may run beside one another on one machine; a scheduler gives each job a machine of its own, or a part of one.
# Asked late: while this file is read no executor is chosen, and all of them seem local.
def jobs_at_once(wildcards):
    return workflow.cores if workflow.local_exec else 1
