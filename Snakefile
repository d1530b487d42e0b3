from snakemake.utils import min_version

min_version("9.0")


# --configfile replaces config.yaml; the two are not merged.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


report: "reports/captions/workflow.rst"


include: "rules/common.smk"
include: "rules/runs.smk"
include: "rules/sources.smk"
include: "rules/estimate.smk"
include: "rules/contexts.smk"
include: "rules/lenses.smk"
include: "rules/extract.smk"
include: "rules/ablation.smk"
include: "rules/store.smk"
include: "rules/report.smk"
include: "rules/verify.smk"


rule all:
    input:
        PLAN.estimate,
        page_of_an_estimated_study,


# What the study will take, without running it.
rule plan:
    input:
        PLAN.estimate,
