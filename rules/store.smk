rule load_database:
    input:
        unpack(PLAN.inputs("load_database")),
    output:
        **paths.OUTPUTS["load_database"],
    log:
        paths.log("load_database"),
    benchmark:
        paths.benchmark("load_database")
    conda:
        "../envs/data.yaml"
    threads: 4
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    params:
        job=PLAN.job("load_database"),
        versions=PLAN.versions("load_database"),
    script:
        "../workflow_scripts/load_database.py"
