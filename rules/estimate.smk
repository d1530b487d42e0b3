rule estimate_study:
    input:
        unpack(PLAN.inputs("estimate_study")),
    output:
        **paths.OUTPUTS["estimate_study"],
    log:
        paths.log("estimate_study"),
    benchmark:
        paths.benchmark("estimate_study")
    # First, and alone: it measures what jobs beside one another leave each other.
    priority: 100
    conda:
        "../envs/torch.yaml"
    threads: JOBS_AT_ONCE
    resources:
        **GPU_OF_A_MODEL,
        mem_mb=grows(8000),
        runtime=grows(60),
    params:
        job=PLAN.job("estimate_study"),
        versions=PLAN.versions("estimate_study"),
        # A function of the input makes no job run again.
        at_once=lambda wildcards, input: JOBS_AT_ONCE,
    script:
        "../workflow_scripts/estimate_study.py"
