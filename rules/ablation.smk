rule reference_means:
    input:
        model=MODEL_FOLDER,
        questions=f"resources/datasets/{STUDY.dataset.name}/questions.parquet",
        contexts=reference_contexts,
    output:
        means="results/{study}/ablation/{model}/{set}/means.safetensors",
        spent="results/{study}/benchmarks/reference_means/{model}/{set}.json",
    log:
        "logs/{study}/reference_means/{model}/{set}.log",
    benchmark:
        "results/{study}/benchmarks/reference_means/{model}/{set}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        **GPU_OF_A_MODEL,
        mem_mb=grows(4000),
        runtime=grows(60),
    params:
        spec=reference_spec,
        source=model_source,
    script:
        "../workflow_scripts/reference_means.py"


rule ablate_shard:
    input:
        model=MODEL_FOLDER,
        questions=f"resources/datasets/{STUDY.dataset.name}/questions.parquet",
        contexts="results/{study}/contexts/{set}/shard-{shard}.parquet",
        means=means_file,
    output:
        ablations="results/{study}/ablation/{model}/{set}/shard-{shard}.parquet",
        spent="results/{study}/benchmarks/ablate_shard/{model}/{set}/{shard}.json",
    log:
        "logs/{study}/ablate_shard/{model}/{set}/{shard}.log",
    benchmark:
        "results/{study}/benchmarks/ablate_shard/{model}/{set}/{shard}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        **GPU_OF_A_MODEL,
        mem_mb=grows(4000),
        runtime=grows(240),
    params:
        spec=ablation_spec,
        source=model_source,
    script:
        "../workflow_scripts/ablate_shard.py"
