# Compute nodes of a cluster often reach no network: downloads run where snakemake itself runs.
localrules:
    fetch_model,
    fetch_dataset,


rule fetch_model:
    input:
        local(model_files),
    output:
        folder=directory(MODEL_FOLDER),
    log:
        "logs/fetch_model/{model}.log",
    benchmark:
        "resources/benchmarks/fetch_model/{model}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(120),
    params:
        spec=model_source,
    script:
        "../workflow_scripts/fetch_model.py"


rule fetch_dataset:
    input:
        local(dataset_files),
    output:
        manifest="resources/datasets/{dataset}/manifest.json",
        questions="resources/datasets/{dataset}/questions.parquet",
    log:
        "logs/fetch_dataset/{dataset}.log",
    benchmark:
        "resources/benchmarks/fetch_dataset/{dataset}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(60),
    params:
        spec=dataset_source,
    script:
        "../workflow_scripts/fetch_dataset.py"
