rule train_lens:
    input:
        model=MODEL_FOLDER,
        questions=f"resources/datasets/{STUDY.dataset.name}/questions.parquet",
    output:
        lens="results/{study}/lenses/{model}/tuned.safetensors",
        manifest="results/{study}/lenses/{model}/tuned.json",
        divergence="results/{study}/lenses/{model}/tuned-divergence.parquet",
        spent="results/{study}/benchmarks/train_lens/{model}.json",
    log:
        "logs/{study}/train_lens/{model}.log",
    benchmark:
        "results/{study}/benchmarks/train_lens/{model}.tsv"
    conda:
        "../envs/torch.yaml"
    # One, whatever cores there are: another number adds in another order, and so trains a slightly other lens.
    threads: 1
    resources:
        **GPU_OF_A_MODEL,
        mem_mb=grows(6000),
        runtime=grows(240),
    params:
        spec=train_lens_spec,
        source=model_source,
    script:
        "../workflow_scripts/train_lens.py"
