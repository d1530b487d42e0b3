# The first lines of a run that goes on with what was estimated before.
onstart:
    for line in said_before(Path(PLAN.estimate), PLAN.job("estimate_study")({})["config"]):
        logger.info(line)


rule estimate_study:
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
    # First; and for a large study alone, as it measures what jobs beside one another leave each other.
    priority: 100
    conda:
        "../envs/torch.yaml"
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
