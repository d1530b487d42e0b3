import hashlib
import json
import re
import sys
from pathlib import Path

from snakemake import __version__ as snakemake_version
from snakemake.exceptions import WorkflowError

# lenscore is used from the checkout, here and in every job.
sys.path.insert(0, workflow.basedir)

from lenscore.jobs.checkout import importable_in_jobs
from lenscore.contexts.prompts import template_path
from lenscore.errors import ConfigError, LenscoreError
from lenscore.report.contents import CHARTS, EXAMPLES, TABLES
from lenscore.sources.lines import count_questions, local_file
from lenscore.study.study import Study, read_study

importable_in_jobs(Path(workflow.basedir))


def checked_study(config):
    """Validate the config before any job starts, and what it says against the files there are."""
    try:
        study = read_study(config)
        # A job that a scheduler starts reads this file again, and may be where these files are not.
        if workflow.is_main_process:
            check_files(study)
        return study
    except LenscoreError as error:
        raise WorkflowError(str(error)) from None


def check_files(study):
    """Refuse a study whose files are not there, or hold fewer questions than it asks."""
    for spec in study.context_sets.values():
        template_path(spec.prompt)
    for name, spec in study.models.items():
        kind, _, folder = spec.source.partition(":")
        if kind == "path" and not Path(folder).is_dir():
            raise ConfigError(f"models.{name}.source: there is no folder {folder}; seen from {Path.cwd()}")
    found = known_number_of_questions(study)
    if found is not None and study.questions > found:
        raise ConfigError(f"questions: {study.questions} are asked for, but {study.dataset.source} has {found}")
    if found is not None and study.questions + study.questions_of_lens > found:
        raise ConfigError(
            f"tuned_lens: {study.questions_of_lens} questions outside the study are needed (questions + held_out), "
            f"but {study.dataset.source} has {found} and the study asks {study.questions} of them"
        )


def known_number_of_questions(study):
    """Count the questions of a dataset that lies on this machine; one yet to be fetched is counted then."""
    if (path := local_file(study.dataset.source)) is not None:
        return count_questions(path)
    manifest = Path("resources/datasets", study.dataset.name, "manifest.json")
    return json.loads(manifest.read_text(encoding="utf-8"))["questions"] if manifest.is_file() else None


def code_digest(*patterns, without=()):
    """Hash library code that a rule's output depends on: `script:` itself watches only the script."""
    digest = hashlib.sha256()
    folder = Path(workflow.basedir, "lenscore")
    left_out = {folder / name for name in without}
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)} - left_out):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


STUDY = checked_study(config)
SHARED = ("models/*.py", "prefix_tree/*.py", "lenses/*.py", "contexts/answers.py", "records.py")
LENS_CODE = code_digest("models/*.py", "lenses/*.py")
EXTRACTION_CODE = code_digest(*SHARED, "extraction/*.py", without=["lenses/training.py", "lenses/texts.py"])
ABLATION_CODE = code_digest(*SHARED, "extraction/*.py", "ablation/*.py", without=["lenses/training.py", "lenses/texts.py"])
STORE_CODE = code_digest("store/*.py", "store/*.sql", "store/views/*.sql")
ANALYSIS_CODE = code_digest("analysis/**/*.py", without=["analysis/examples.py"])
EXAMPLES_CODE = code_digest("analysis/examples.py")
CHART_CODE = code_digest("report/charts/*.py")
PAGE_CODE = code_digest("report/**/*.py", "report/page/templates/*")
# What a scheduler is asked for besides, for each job that runs a model: a GPU where the study demands one, and nothing
# else, not even 0 GPUs, which some executors take for a wish. device: auto takes a GPU that is there, and asks for none.
GPU_OF_A_MODEL = {"gpu": 1} if STUDY.extraction.device == "cuda" else {}

MODEL_FOLDER = "resources/models/{model}"


wildcard_constraints:
    study=re.escape(STUDY.study),
    dataset=re.escape(STUDY.dataset.name),
    model="|".join(map(re.escape, STUDY.models)),
    set="|".join(map(re.escape, STUDY.context_sets)),
    chart="|".join(CHARTS),
    shard=r"\d{4}",


def grows(first):
    """Return a resource that grows with every attempt: what a scheduler killed for too little gets more."""

    def amount(wildcards, attempt):
        return first * attempt

    return amount


def final_targets():
    return f"results/{STUDY.study}/report/index.html"


def model_files(wildcards):
    """Return the files of a path: model, whose change is to be noticed; nothing for other sources."""
    kind, _, folder = STUDY.models[wildcards.model].source.partition(":")
    return sorted(str(path) for path in Path(folder).iterdir() if path.is_file()) if kind == "path" else []


def model_source(wildcards):
    return STUDY.models[wildcards.model].model_dump(mode="json", exclude={"dtype", "matmul", "window"})


def dataset_files(wildcards):
    path = local_file(STUDY.dataset.source)
    return [] if path is None else [str(path)]


def dataset_source(wildcards):
    return STUDY.dataset.model_dump(mode="json")


def contexts_spec(wildcards):
    first, end = STUDY.questions_of_shard(int(wildcards.shard))
    spec = STUDY.context_sets[wildcards.set].model_dump(mode="json")
    return {
        # How a context meets a model's window is the extraction's business.
        "set": {key: value for key, value in spec.items() if key not in ("overflow", "cut")},
        "order": STUDY.seed,
        "first": first,
        "end": end,
        "missing_answer": STUDY.missing_answer,
        "version": 2,
    }


def template_file(wildcards):
    return str(template_path(STUDY.context_sets[wildcards.set].prompt))


def tuned_lens_files(wildcards):
    """Return the tuned lens of a job's model and its manifest, where the study has one."""
    folder = f"results/{wildcards.study}/lenses/{wildcards.model}"
    return [f"{folder}/tuned.safetensors", f"{folder}/tuned.json"] if "tuned" in STUDY.lenses else []


def files_of_lenses(name):
    """Return an input function for one file of every model's tuned lens, in the models' order; none without one."""

    def paths(wildcards):
        models = STUDY.models if "tuned" in STUDY.lenses else []
        return [f"results/{wildcards.study}/lenses/{model}/{name}" for model in models]

    return paths


def train_lens_spec(wildcards):
    return {
        "settings": STUDY.tuned_lens.model_dump(mode="json"),
        "order": STUDY.seed,
        "dtype": STUDY.models[wildcards.model].dtype,
        "device": STUDY.extraction.device,
        "code": LENS_CODE,
    }


def extraction_spec(wildcards):
    model = STUDY.models[wildcards.model]
    contexts = STUDY.context_sets[wildcards.set]
    return {
        "dtype": model.dtype,
        "matmul": model.matmul,
        "window": model.window,
        "overflow": contexts.overflow,
        "cut": contexts.cut,
        "lenses": list(STUDY.lenses),
        "extraction": STUDY.extraction.model_dump(mode="json"),
        "code": EXTRACTION_CODE,
    }


def reading_spec(wildcards):
    """How a model reads a set's contexts where blocks are ablated in them: as in the extraction."""
    spec = extraction_spec(wildcards)
    return {
        **{key: spec[key] for key in ("dtype", "matmul", "window", "overflow", "cut")},
        "device": spec["extraction"]["device"],
        "code": ABLATION_CODE,
    }


def ablation_spec(wildcards):
    first, end = STUDY.ablated_questions(int(wildcards.shard))
    return {
        **reading_spec(wildcards),
        "order": STUDY.seed,
        "first": first,
        "end": end,
        "ablation": {
            "documents": STUDY.ablated_documents(wildcards.set),
            "replacements": list(STUDY.ablation.replacements),
            "scopes": list(STUDY.ablation.scopes),
        },
    }


def reference_spec(wildcards):
    return {
        **reading_spec(wildcards),
        "order": STUDY.seed,
        "questions": min(STUDY.ablation.reference, STUDY.questions),
        "documents": STUDY.ablated_documents(wildcards.set),
    }


def reference_contexts(wildcards):
    """Return the shards that hold the study's first questions, over whose contexts means are taken."""
    shards = range(min(STUDY.n_shards, -(-STUDY.ablation.reference // STUDY.shard_size)))
    return [f"results/{wildcards.study}/contexts/{wildcards.set}/shard-{shard:04d}.parquet" for shard in shards]


def means_file(wildcards):
    """Return the file of blocks' mean contributions, where some replacement is by them."""
    path = f"results/{wildcards.study}/ablation/{wildcards.model}/{wildcards.set}/means.safetensors"
    return [path] if "mean" in STUDY.ablation.replacements else []


def context_shards():
    return [(name, shard) for name in STUDY.context_sets for shard in range(STUDY.n_shards)]


def record_shards():
    return [(model, name, shard) for model in STUDY.models for name, shard in context_shards()]


def ablation_shards():
    """Return (model, set, shard) of the jobs in which blocks are ablated: those that have contexts for it."""

    def has_contexts(name, shard):
        first, end = STUDY.ablated_questions(shard)
        return end > first and STUDY.ablated_documents(name)

    return [(model, name, shard) for model, name, shard in record_shards() if has_contexts(name, shard)]


def ablation_files(wildcards):
    return [
        f"results/{wildcards.study}/ablation/{model}/{name}/shard-{shard:04d}.parquet"
        for model, name, shard in ablation_shards()
    ]


def files_of_contexts(kind):
    """Return an input function for one kind of file of every context shard, in context_shards' order."""

    def paths(wildcards):
        return [
            f"results/{wildcards.study}/contexts/{name}/{kind}-{shard:04d}.parquet" for name, shard in context_shards()
        ]

    return paths


def files_of_records(kind):
    """Return an input function for one kind of file of every extraction job, in record_shards' order."""

    def paths(wildcards):
        return [
            f"results/{wildcards.study}/{kind}/{model}/{name}/shard-{shard:04d}.parquet"
            for model, name, shard in record_shards()
        ]

    return paths


def store_spec(wildcards):
    """What the database holds besides its inputs: settings of the report and of statistics are not among it."""
    return {
        "config": STUDY.model_dump(mode="json", exclude={"analysis", "report"}),
        "context_shards": context_shards(),
        "record_shards": record_shards(),
        "ablation_shards": ablation_shards(),
        "extraction_code": EXTRACTION_CODE,
        "snakemake": snakemake_version,
        "code": STORE_CODE,
    }


def analysis_spec(wildcards):
    return {**STUDY.analysis.model_dump(mode="json"), "code": ANALYSIS_CODE}


def table_of_chart(wildcards):
    return f"results/{wildcards.study}/tables/{CHARTS[wildcards.chart].table}.parquet"


def examples_spec(wildcards):
    return {"per_cell": STUDY.report.examples, "code": EXAMPLES_CODE}


def chart_spec(wildcards):
    return {"caption": CHARTS[wildcards.chart].caption, "code": CHART_CODE}


def report_spec(wildcards):
    return {"config": STUDY.model_dump(mode="json"), "code": PAGE_CODE}


def benchmarks_of_jobs():
    """Return, by rule, the benchmark files of the study's jobs, in the order in which they run."""
    sets = STUDY.context_sets if "mean" in STUDY.ablation.replacements and ablation_shards() else []
    names = {
        "build_contexts": [f"{name}/{shard:04d}" for name, shard in context_shards()],
        "train_lens": [model for model in STUDY.models if "tuned" in STUDY.lenses],
        "extract_shard": [f"{model}/{name}/{shard:04d}" for model, name, shard in record_shards()],
        "reference_means": [f"{model}/{name}" for model in STUDY.models for name in sets],
        "ablate_shard": [f"{model}/{name}/{shard:04d}" for model, name, shard in ablation_shards()],
        **{rule: [""] for rule in ("load_database", "analyse", "choose_examples")},
        "render_chart": list(CHARTS),
    }
    shared = {"fetch_dataset": [STUDY.dataset.name], "fetch_model": list(STUDY.models)}

    def files(folder, jobs_of):
        return {of: [f"{folder}/{of}{job and '/'}{job}.tsv" for job in jobs] for of, jobs in jobs_of.items()}

    return {**files("resources/benchmarks", shared), **files(f"results/{STUDY.study}/benchmarks", names)}
