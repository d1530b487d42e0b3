"""Every path of the workflow, relative to its working directory; braces hold wildcards of the rules.

No other file spells results/… or resources/….
"""

from collections.abc import Mapping

RESOURCES = "resources"
RESULTS = "results/{study}"

# What is remembered of files that path: sources name (``lenscore.sources.contents``).
CONTENTS = f"{RESOURCES}/.contents.json"
# Claims of running workflows on what they fetch (``lenscore.jobs.claims``).
CLAIMS = f"{RESOURCES}/.claims"
# Records by what they are made from, shared by all studies; may be removed at any time.
RECORD_CACHE = "results/.cache/records"

MODEL = f"{RESOURCES}/models/{{model_folder}}"
QUESTIONS = f"{RESOURCES}/datasets/{{dataset}}/questions.parquet"
DATASET = f"{RESOURCES}/datasets/{{dataset}}/manifest.json"

# A study's tables, by the names of their files. lenscore.report.contents says which chart draws which.
TABLES = (
    "refinement_curve", "accuracy_curve", "layers_reached", "right_by_layer", "essential_layers", "controls",
    "depth_by_group", "flips", "lens_divergence", "shapes", "order_variance", "block_effects", "lens_against_cause",
    "lens_overlap", "token_classes", "coverage", "depth_decomposition", "specification_curve", "entropy_by_layer",
    "frequent_top1",
)  # fmt: skip

# By rule, what tells its jobs apart: it names their logs and benchmark files.
JOBS: Mapping[str, str] = {
    "fetch_model": "{model_folder}",
    "fetch_dataset": "{dataset}",
    "estimate_study": "",
    "build_contexts": "{set}/{shard}",
    "train_lens": "{model}/{lens}",
    "extract_shard": "{model}/{set}/{shard}",
    "reference_means": "{model}/{set}",
    "ablate_shard": "{model}/{set}/{shard}",
    "load_database": "",
    "analyse": "",
    "choose_examples": "",
    "render_charts": "",
    "render_report": "",
}

# Log of rule verify, which makes nothing.
VERIFY_LOG = "logs/{study}/verify.log"

# Rules whose results all studies share.
SHARED = ("fetch_model", "fetch_dataset")


def log(rule: str) -> str:
    """Return the log of a rule's job."""
    return f"logs/{'' if rule in SHARED else '{study}/'}{_job(rule)}.log"


def benchmark(rule: str) -> str:
    """Return the benchmark file of a rule's job, in which Snakemake writes what it took."""
    return f"{RESOURCES if rule in SHARED else RESULTS}/benchmarks/{_job(rule)}.tsv"


def spent(rule: str) -> str:
    """Return the file beside the benchmark file, in which a job that runs a model says what model and lens took."""
    return benchmark(rule).replace(".tsv", ".json")


def hashes(rule: str) -> str:
    """Return the file in which a rule's job records the hashes of what it made."""
    return f"{RESOURCES if rule in SHARED else RESULTS}/hashes/{_job(rule)}.json"


def _job(rule: str) -> str:
    return f"{rule}/{JOBS[rule]}".rstrip("/")


def _shard(kind: str) -> str:
    return f"{RESULTS}/{kind}/{{model}}/{{set}}/shard-{{shard}}.parquet"


# By rule, what it makes, by name.
_OUTPUTS: Mapping[str, Mapping[str, str | list[str]]] = {
    "fetch_model": {"folder": MODEL},
    "fetch_dataset": {"manifest": DATASET, "questions": QUESTIONS},
    "estimate_study": {"estimate": f"{RESULTS}/estimate.json"},
    "build_contexts": {
        "contexts": f"{RESULTS}/contexts/{{set}}/shard-{{shard}}.parquet",
        "left_out": f"{RESULTS}/contexts/{{set}}/left-out-{{shard}}.parquet",
        "answers_in_distractors": f"{RESULTS}/contexts/{{set}}/answers-in-distractors-{{shard}}.parquet",
    },
    "train_lens": {
        "lens": f"{RESULTS}/lenses/{{model}}/{{lens}}.safetensors",
        "manifest": f"{RESULTS}/lenses/{{model}}/{{lens}}.json",
        "divergence": f"{RESULTS}/lenses/{{model}}/{{lens}}-divergence.parquet",
        "spent": spent("train_lens"),
    },
    "extract_shard": {
        "records": _shard("records"),
        "answer_tokens": _shard("answer_tokens"),
        "fits": _shard("fits"),
        "spent": spent("extract_shard"),
    },
    "reference_means": {
        "means": f"{RESULTS}/ablation/{{model}}/{{set}}/means.safetensors",
        "spent": spent("reference_means"),
    },
    "ablate_shard": {"ablations": _shard("ablation"), "spent": spent("ablate_shard")},
    "load_database": {"database": f"{RESULTS}/{{study}}.duckdb"},
    "analyse": {
        "csv": [f"{RESULTS}/tables/{table}.csv" for table in TABLES],
        "parquet": [f"{RESULTS}/tables/{table}.parquet" for table in TABLES],
        "findings": f"{RESULTS}/tables/findings.json",
    },
    "choose_examples": {"csv": f"{RESULTS}/tables/examples.csv", "parquet": f"{RESULTS}/tables/examples.parquet"},
    "render_charts": {"charts": f"{RESULTS}/charts"},
    "render_report": {"page": f"{RESULTS}/report/index.html"},
}

# By rule, its outputs by name.
OUTPUTS: Mapping[str, Mapping[str, str | list[str]]] = {
    rule: {**outputs, "hashes": hashes(rule)} for rule, outputs in _OUTPUTS.items()
}
