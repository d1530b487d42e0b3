rule analyse:
    input:
        database="results/{study}/{study}.duckdb",
    output:
        csv=expand("results/{{study}}/tables/{table}.csv", table=TABLES),
        parquet=expand("results/{{study}}/tables/{table}.parquet", table=TABLES),
        findings="results/{study}/tables/findings.json",
    log:
        "logs/{study}/analyse.log",
    benchmark:
        "results/{study}/benchmarks/analyse.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(60),
    params:
        spec=analysis_spec,
    script:
        "../workflow_scripts/analyse.py"


rule choose_examples:
    input:
        database="results/{study}/{study}.duckdb",
    output:
        csv="results/{study}/tables/examples.csv",
        parquet="results/{study}/tables/examples.parquet",
    log:
        "logs/{study}/choose_examples.log",
    benchmark:
        "results/{study}/benchmarks/choose_examples.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(30),
    params:
        spec=examples_spec,
    script:
        "../workflow_scripts/choose_examples.py"


rule render_chart:
    input:
        table=table_of_chart,
    output:
        vega_lite="results/{study}/charts/{chart}.json",
        svg=report(
            "results/{study}/charts/{chart}.svg",
            caption="../reports/captions/chart.rst",
            category="Charts",
            labels={"chart": "{chart}", "format": "SVG"},
        ),
        png="results/{study}/charts/{chart}.png",
    log:
        "logs/{study}/render_chart/{chart}.log",
    benchmark:
        "results/{study}/benchmarks/render_chart/{chart}.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(15),
    params:
        spec=chart_spec,
    script:
        "../workflow_scripts/render_chart.py"


rule render_report:
    input:
        database="results/{study}/{study}.duckdb",
        tables=expand("results/{{study}}/tables/{table}.parquet", table=[*TABLES, EXAMPLES]),
        findings="results/{study}/tables/findings.json",
        charts=expand("results/{{study}}/charts/{chart}.json", chart=list(CHARTS)),
    output:
        page=report(
            "results/{study}/report/index.html",
            caption="../reports/captions/page.rst",
            category="Report",
            labels={"chart": "all", "format": "HTML page"},
        ),
    log:
        "logs/{study}/render_report.log",
    benchmark:
        "results/{study}/benchmarks/render_report.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(30),
    params:
        spec=report_spec,
        benchmarks=lambda wildcards: benchmarks_of_jobs(),
    script:
        "../workflow_scripts/render_report.py"
