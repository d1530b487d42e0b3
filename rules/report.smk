rule analyse:
    input:
        unpack(PLAN.inputs("analyse")),
    output:
        **paths.OUTPUTS["analyse"],
    log:
        paths.log("analyse"),
    benchmark:
        paths.benchmark("analyse")
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(60),
    params:
        job=PLAN.job("analyse"),
        versions=PLAN.versions("analyse"),
    script:
        "../workflow_scripts/analyse.py"


rule choose_examples:
    input:
        unpack(PLAN.inputs("choose_examples")),
    output:
        **paths.OUTPUTS["choose_examples"],
    log:
        paths.log("choose_examples"),
    benchmark:
        paths.benchmark("choose_examples")
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(30),
    params:
        job=PLAN.job("choose_examples"),
        versions=PLAN.versions("choose_examples"),
    script:
        "../workflow_scripts/choose_examples.py"


rule render_charts:
    input:
        unpack(PLAN.inputs("render_charts")),
    output:
        charts=report(
            directory(paths.OUTPUTS["render_charts"]["charts"]),
            patterns=["{chart}.svg"],
            caption="../reports/captions/chart.rst",
            category="Charts",
            labels={"chart": "{chart}", "format": "SVG"},
        ),
        hashes=paths.hashes("render_charts"),
    log:
        paths.log("render_charts"),
    benchmark:
        paths.benchmark("render_charts")
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(30),
    params:
        job=PLAN.job("render_charts"),
        versions=PLAN.versions("render_charts"),
        captions={name: chart.caption for name, chart in CHARTS.items()},
    script:
        "../workflow_scripts/render_charts.py"


rule render_report:
    input:
        unpack(PLAN.inputs("render_report")),
    output:
        page=report(
            paths.OUTPUTS["render_report"]["page"],
            caption="../reports/captions/page.rst",
            category="Report",
            labels={"chart": "all", "format": "HTML page"},
        ),
        hashes=paths.hashes("render_report"),
    log:
        paths.log("render_report"),
    benchmark:
        paths.benchmark("render_report")
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(30),
    params:
        job=PLAN.job("render_report"),
        versions=PLAN.versions("render_report"),
    script:
        "../workflow_scripts/render_report.py"
