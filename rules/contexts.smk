rule build_contexts:
    input:
        unpack(PLAN.inputs("build_contexts")),
    output:
        **paths.OUTPUTS["build_contexts"],
    log:
        paths.log("build_contexts"),
    benchmark:
        paths.benchmark("build_contexts")
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(60),
    params:
        job=PLAN.job("build_contexts"),
        versions=PLAN.versions("build_contexts"),
        # A function of the input makes no job run again: more questions must not rebuild the contexts of others.
        check=lambda wildcards, input: PLAN.check(),
    script:
        "../workflow_scripts/build_contexts.py"
