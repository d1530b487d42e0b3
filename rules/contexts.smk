rule build_contexts:
    input:
        questions=f"resources/datasets/{STUDY.dataset.name}/questions.parquet",
        template=template_file,
    output:
        contexts="results/{study}/contexts/{set}/shard-{shard}.parquet",
        left_out="results/{study}/contexts/{set}/left-out-{shard}.parquet",
    log:
        "logs/{study}/build_contexts/{set}/{shard}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(60),
    params:
        spec=contexts_spec,
    script:
        "../workflow_scripts/build_contexts.py"
