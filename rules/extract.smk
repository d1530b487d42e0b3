rule extract_shard:
    input:
        model=MODEL_FOLDER,
        contexts="results/{study}/contexts/{set}/shard-{shard}.parquet",
        lens=tuned_lens_files,
    output:
        records="results/{study}/records/{model}/{set}/shard-{shard}.parquet",
        answer_tokens="results/{study}/answer_tokens/{model}/{set}/shard-{shard}.parquet",
        fits="results/{study}/fits/{model}/{set}/shard-{shard}.parquet",
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
        source=model_source,
        # No output: what a lens that is added need not have extracted again. To be removed at will.
        kept="results/{study}/.kept/{model}/{set}/{shard}",
    script:
        "../workflow_scripts/extract_shard.py"
