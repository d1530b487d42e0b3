"""What share of a study's wall time is not the model's forward pass: the study is run from nothing, and weighed.

Prints what each rule's jobs took, and last the whole: of the processors' time from Snakemake's start to its end, how
much went into the model's passes and into the lens, and how much into all else (processes that start, imports, loading,
Parquet, DuckDB, charts, Snakemake, and processors that had nothing to do).
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

from lenscore.report.run_times import run_times, table_in_text

ROOT = Path(__file__).resolve().parent.parent
MOST = 0.15


def main() -> None:
    """Run the study in a copy of the project, and print the account."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", help="a file of questions on this machine, instead of the study's address")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--documents", type=int, nargs="+", default=[10])
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    config = yaml.safe_load((ROOT / "studies/smollm2-nq-open.yaml").read_text(encoding="utf-8"))
    config |= {"study": "overhead", "questions": options.questions, "ablation": {"questions": 0}}
    config["context_sets"]["main"] |= {"documents": options.documents, "controls": []}
    config["lenses"] = ["logit"]
    if options.dataset:
        config["dataset"] = {"source": f"path:{Path(options.dataset).resolve()}"}
    folder = ROOT / ".bench/overhead"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("Snakefile", "config.yaml", "rules", "lenscore", "workflow_scripts", "reports", "envs", "profiles"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "study.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    snakemake = [sys.executable, "-m", "snakemake", "--cores", str(options.cores), "--configfile", "study.yaml"]
    # A download is no part of the account.
    fetched = [*snakemake, "--until", "fetch_model", "fetch_dataset"]
    subprocess.run(fetched, cwd=folder, check=True, stdout=sys.stderr, stderr=sys.stderr)
    started = time.monotonic()
    subprocess.run(snakemake, cwd=folder, check=True, stdout=sys.stderr, stderr=sys.stderr)
    wall = time.monotonic() - started
    files: dict[str, list[Path]] = {}
    for file in sorted((folder / "results/overhead/benchmarks").rglob("*.tsv")):
        rule = file.relative_to(folder / "results/overhead/benchmarks").parts[0].removesuffix(".tsv")
        files.setdefault(rule, []).append(file)
    times = run_times(files)
    print(table_in_text(times))
    available = wall * options.cores
    model, lens = sum(of.model for of in times), sum(of.lens for of in times)
    shares = {"model": model / available, "lens": lens / available, "else": 1 - (model + lens) / available}
    account = {"questions": options.questions, "documents": options.documents, "cores": options.cores, "wall": wall}
    # The lens is the study's own work, and no part of the model's pass: both readings are given.
    within = {"within": shares["else"] <= MOST, "within_with_lens": shares["else"] + shares["lens"] <= MOST}
    print(json.dumps({**account, **shares, **within}))


if __name__ == "__main__":
    main()
