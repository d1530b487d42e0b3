rule load_database:
    input:
        questions=f"resources/datasets/{STUDY.dataset.name}/questions.parquet",
        dataset=f"resources/datasets/{STUDY.dataset.name}/manifest.json",
        models=expand(MODEL_FOLDER, model=STUDY.models),
        contexts=files_of_contexts("shard"),
        left_out=files_of_contexts("left-out"),
        records=files_of_records("records"),
        answer_tokens=files_of_records("answer_tokens"),
        fits=files_of_records("fits"),
        divergences=files_of_lenses("tuned-divergence.parquet"),
        lens_manifests=files_of_lenses("tuned.json"),
        ablations=ablation_files,
    output:
        database="results/{study}/{study}.duckdb",
    log:
        "logs/{study}/load_database.log",
    benchmark:
        "results/{study}/benchmarks/load_database.tsv"
    conda:
        "../envs/data.yaml"
    threads: 4
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    params:
        spec=store_spec,
    script:
        "../workflow_scripts/load_database.py"
