# Compute nodes of a cluster often reach no network: downloads run where snakemake itself runs.
localrules:
    fetch_model,
    fetch_dataset,


rule fetch_model:
    input:
        claimed,
    output:
        folder=directory(paths.MODEL),
        hashes=paths.hashes("fetch_model"),
    log:
        paths.log("fetch_model"),
    benchmark:
        paths.benchmark("fetch_model")
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(120),
    params:
        job=PLAN.job("fetch_model"),
        versions=PLAN.versions("fetch_model"),
    script:
        "../workflow_scripts/fetch_model.py"


rule fetch_dataset:
    input:
        claimed,
    output:
        **paths.OUTPUTS["fetch_dataset"],
    log:
        paths.log("fetch_dataset"),
    benchmark:
        paths.benchmark("fetch_dataset")
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(60),
    params:
        job=PLAN.job("fetch_dataset"),
        versions=PLAN.versions("fetch_dataset"),
    script:
        "../workflow_scripts/fetch_dataset.py"
