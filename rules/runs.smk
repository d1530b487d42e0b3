from lenscore.jobs.claims import claim


# Asked late, as jobs_at_once: what only looks or cleans up (--summary, --dag, --unlock, ...) never chooses an executor.
def is_run():
    """Tell whether jobs are going to be done."""
    chosen = workflow.is_main_process and workflow.executor_plugin is not None
    return chosen and not workflow.dryrun and not workflow.touch


# Claims on what is fetched, which hold until this process ends; None before they are made.
CLAIMS = None


# The input of what is fetched: no file. Workflows of several checkouts may share resources/, so that a run that fetches
# claims all of it first, and waits for what another one has claimed. Snakemake asks for it while it plans the jobs,
# before it looks what is there. A store has no claims.
def claimed(wildcards):
    global CLAIMS
    if CLAIMS is None and is_run() and not workflow.storage_settings.default_storage_provider:
        CLAIMS = claim(PLAN.fetched, Path(paths.CLAIMS))
    return []


# The page is asked for once the study is estimated, so that nothing that costs much begins before, and nothing at all
# where the study cannot fit. As an input of all other jobs an estimate would run them again whenever it is made anew;
# with ancient(), Snakemake overlooks their other reasons to run (9.27). What does no jobs, a dry run among it, is told
# of all of them at once.
def page_of_an_estimated_study(wildcards):
    # With --until, nothing is done that was not asked for. With files in a store, see the end of rules/estimate.smk.
    if is_run() and not workflow.dag_settings.until and not workflow.storage_settings.default_storage_provider:
        checkpoints.estimate_study.get(study=STUDY.study)
    return PLAN.page
