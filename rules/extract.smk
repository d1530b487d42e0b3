rule extract_shard:
    input:
        contexts="results/{study}/contexts/{set}/shard-{shard}.parquet",
        manifest="resources/models/{model}/manifest.json",
        lens=tuned_lens_files,
    output:
        # Not removed before the job: what it holds of lenses that nothing has changed for is kept.
        records=update("results/{study}/records/{model}/{set}/shard-{shard}.parquet"),
        answer_tokens=update("results/{study}/answer_tokens/{model}/{set}/shard-{shard}.parquet"),
        fits=update("results/{study}/fits/{model}/{set}/shard-{shard}.parquet"),
        spent="results/{study}/benchmarks/extract_shard/{model}/{set}/{shard}.json",
    log:
        "logs/{study}/extract_shard/{model}/{set}/{shard}.log",
    benchmark:
        "results/{study}/benchmarks/extract_shard/{model}/{set}/{shard}.tsv"
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
        spec=extraction_spec,
    script:
        "../workflow_scripts/extract_shard.py"
