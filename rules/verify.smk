localrules:
    verify,


# It has no input and no output: it makes nothing anew, and is done whenever it is asked for.
rule verify:
    log:
        paths.VERIFY_LOG.format(study=STUDY.study),
    conda:
        "../envs/data.yaml"
    params:
        job=lambda wildcards: PLAN.verify(),
    script:
        "../workflow_scripts/verify.py"
