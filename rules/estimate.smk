# The first lines of a run that goes on with what was estimated before.
onstart:
    for line in said_before(Path(PLAN.estimate), PLAN.job("estimate_study")({})["config"]):
        logger.info(line)


checkpoint estimate_study:
    input:
        unpack(PLAN.inputs("estimate_study")),
    output:
        **{
            **paths.OUTPUTS["estimate_study"],
            # Where a new estimate refuses the study, the old one stays.
            "estimate": update(paths.OUTPUTS["estimate_study"]["estimate"]),
        },
    log:
        paths.log("estimate_study"),
    benchmark:
        paths.benchmark("estimate_study")
    # Soon, where nothing waits for it.
    priority: 100
    conda:
        "../envs/torch.yaml"
    # For a large study all, as it measures what jobs beside one another leave each other.
    threads: jobs_at_once if STUDY.is_large else 1
    resources:
        **GPU_OF_A_MODEL,
        mem_mb=grows(8000),
        runtime=grows(60),
    params:
        job=PLAN.job("estimate_study"),
        versions=PLAN.versions("estimate_study"),
        # A function of the input makes no job run again.
        at_once=lambda wildcards, input: jobs_at_once(wildcards),
    script:
        "../workflow_scripts/estimate_study.py"


# A job that is started in a process of its own plans itself alone; but where a rule is a checkpoint, Snakemake (9.27) has
# it plan all that it comes from, for which it may lack the files. And of files in a store that are planned after a
# checkpoint it overlooks folders.
if not workflow.is_main_process or workflow.storage_settings.default_storage_provider:
    workflow.get_rule("estimate_study").is_checkpoint = False
