rule extract_shard:
    input:
        unpack(PLAN.inputs("extract_shard")),
    output:
        **paths.OUTPUTS["extract_shard"],
    log:
        paths.log("extract_shard"),
    benchmark:
        paths.benchmark("extract_shard")
    conda:
        "../envs/torch.yaml"
    # Shards run beside one another: a thread each uses a machine's cores better than
    # all threads on one shard. A profile's set-threads changes it for large models.
    threads: 1
    resources:
        **GPU_OF_A_MODEL,
        mem_mb=grows(4000),
        runtime=grows(240),
    params:
        job=PLAN.job("extract_shard"),
        versions=PLAN.versions("extract_shard"),
    script:
        "../workflow_scripts/extract_shard.py"
