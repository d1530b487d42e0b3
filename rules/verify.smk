localrules:
    verify,


# It has no input and no output: it makes nothing anew, and is done whenever it is asked for.
rule verify:
    log:
        paths.VERIFY_LOG.format(study=STUDY.study),
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(60),
    params:
        job=lambda wildcards: PLAN.verify(),
    script:
        "../workflow_scripts/verify.py"
