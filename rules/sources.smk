rule fetch_model:
    input:
        model_files,
    output:
        manifest="resources/models/{model}/manifest.json",
    log:
        "logs/fetch_model/{model}.log",
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=4000,
    params:
        spec=model_source,
    script:
        "../workflow_scripts/fetch_model.py"


rule fetch_dataset:
    input:
        dataset_files,
    output:
        manifest="resources/datasets/{dataset}/manifest.json",
        questions="resources/datasets/{dataset}/questions.parquet",
    log:
        "logs/fetch_dataset/{dataset}.log",
    conda:
        "../envs/data.yaml"
    params:
        spec=dataset_source,
    script:
        "../workflow_scripts/fetch_dataset.py"
