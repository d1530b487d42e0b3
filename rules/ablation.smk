rule reference_means:
    input:
        unpack(PLAN.inputs("reference_means")),
    output:
        **paths.OUTPUTS["reference_means"],
    log:
        paths.log("reference_means"),
    benchmark:
        paths.benchmark("reference_means")
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        **GPU_OF_A_MODEL,
        mem_mb=grows(4000),
        runtime=grows(60),
    params:
        job=PLAN.job("reference_means"),
        versions=PLAN.versions("reference_means"),
    script:
        "../workflow_scripts/reference_means.py"


rule ablate_shard:
    input:
        unpack(PLAN.inputs("ablate_shard")),
    output:
        **paths.OUTPUTS["ablate_shard"],
    log:
        paths.log("ablate_shard"),
    benchmark:
        paths.benchmark("ablate_shard")
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        **GPU_OF_A_MODEL,
        mem_mb=grows(4000),
        runtime=grows(240),
    params:
        job=PLAN.job("ablate_shard"),
        versions=PLAN.versions("ablate_shard"),
    script:
        "../workflow_scripts/ablate_shard.py"
