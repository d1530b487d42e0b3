"""The workflow from its start to the report on a tiny GPT-2; Snakemake runs again what the plan says."""

import copy
import json
import os
import re
import shutil
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lenscore.report.contents import CHARTS
from tests.conftest import ROOT, Checkout
from tests.plans import plan_of, stale

pytestmark = pytest.mark.slow

LENSES = {"logit", "tuned"}
EXAMPLES = {"choose_examples", "render_charts", "render_report"}


def test_a_run_makes_the_whole_study(finished: Checkout) -> None:
    results = finished.folder / "results/tiny"
    page = (results / "report/index.html").read_text(encoding="utf-8")
    assert "<html" in page
    for chart in CHARTS:
        for suffix in ("json", "svg", "png"):
            assert (results / f"charts/{chart}.{suffix}").stat().st_size > 0
    with duckdb.connect(str(results / "tiny.duckdb"), read_only=True) as database:
        # 4 questions, 2 numbers of documents with 2 places each, and two controls.
        assert database.sql("select count(*) from contexts").fetchall()[0] == (4 * (2 * 2 + 2),)
        records, tokens = database.sql(
            "select (select count(*) from layer_records), (select count(*) from answer_tokens)"
        ).fetchall()[0]
        assert tokens > 0
        assert records == tokens * 3 * len(LENSES)
        for view in ("token_depths", "context_layers", "refinement_curve", "accuracy_curve", "essential_layers"):
            database.sql(f"select * from {view}").fetchall()


@pytest.mark.parametrize("table", ["refinement_curve", "accuracy_curve", "shapes"])
def test_every_lens_has_its_rows(finished: Checkout, table: str) -> None:
    rows = pd.read_parquet(finished.folder / f"results/tiny/tables/{table}.parquet")
    assert set(rows["lens"]) == LENSES


def test_the_trained_lens_is_measured_and_named_in_the_page(finished: Checkout) -> None:
    divergence = pd.read_parquet(finished.folder / "results/tiny/tables/lens_divergence.parquet")
    parts = [(lens, where) for lens in sorted(LENSES) for where in ("answers", "held_out")]
    assert [tuple(row) for row in divergence[["lens", "measured_on", "layer"]].to_numpy()] == [
        (*part, layer) for part in parts for layer in (0, 1, 2)
    ]
    assert divergence["kl"].notna().all()
    overlap = pd.read_parquet(finished.folder / "results/tiny/tables/lens_overlap.parquet")
    assert overlap["lens"].tolist() == ["tuned"]
    # 4 questions, at 2 places of 2 and of 4 documents.
    assert overlap["n_places"].tolist() == [4 * 2 * (1 + 3)]
    page = (finished.folder / "results/tiny/report/index.html").read_text(encoding="utf-8")
    assert "through the logit and tuned lens" in page


def test_blocks_are_ablated_in_the_first_questions_contexts_alone(finished: Checkout) -> None:
    with duckdb.connect(str(finished.folder / "results/tiny/tiny.duckdb"), read_only=True) as database:
        rows = database.sql(
            "select distinct scope, block, n_documents from ablations join contexts using (context_id) order by all"
        ).fetchall()
    # Block 0 is the intact model.
    assert rows == [(scope, block, 2) for scope in ("all", "answer") for block in (0, 1, 2)]


def test_a_second_run_has_nothing_to_do(finished: Checkout) -> None:
    assert finished.planned("finished.yaml") == Counter()


def test_nothing_is_left_half_written(finished: Checkout) -> None:
    assert not list(finished.folder.rglob(".part-*"))


@pytest.mark.parametrize(
    "changes",
    [
        {"questions": 5},
        {"models": {"tiny": {"dtype": "bfloat16"}}, "lenses": ["logit"]},
        {"analysis": {"confidence": 0.9}},
        {"report": {"title": "Another title"}},
    ],
)
def test_snakemake_runs_what_the_plan_says(finished: Checkout, config: dict[str, Any], changes: dict[str, Any]) -> None:
    changed = copy.deepcopy(config)
    for key, value in changes.items():
        changed[key] = value
    if "models" in changes:
        changed["models"]["tiny"]["source"] = config["models"]["tiny"]["source"]
    planned = finished.planned(finished.write_config(changed, "changed.yaml"))
    assert planned == stale(plan_of(config), plan_of(changed))
    assert planned


@pytest.mark.parametrize(
    ("file", "old", "new", "rules"),
    [
        ("lenscore/records.py", "# Most blocks", "# A comment. Most blocks", set()),
        ("workflow_scripts/analyse.py", "write_csv(tables", "write_csv( tables", set()),
        (
            "lenscore/analysis/examples.py",
            "KINDS = (",
            "MORE = 1\nKINDS = (",
            {"choose_examples", "render_charts", "render_report"},
        ),
    ],
)
def test_changed_code_runs_what_can_reach_it(
    finished: Checkout, file: str, old: str, new: str, rules: set[str]
) -> None:
    path = finished.folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    try:
        assert set(finished.planned("finished.yaml")) == rules
    finally:
        path.write_text(text, encoding="utf-8")


def test_a_run_says_which_version_makes_it_run_again(finished: Checkout) -> None:
    path = finished.folder / "lenscore/analysis/findings.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("count: int = 3", "count: int = 4"), encoding="utf-8")
    try:
        done = finished.snakemake("--configfile", "finished.yaml", "--dry-run")
    finally:
        path.write_text(text, encoding="utf-8")
    (reason,) = re.findall(r"rule analyse:\n(?:\s+\w+: .*\n)*?\s+reason: (.*)", done.stdout + done.stderr)
    assert re.search(r"before: \{'code': '\w{16}'\} now: \{'code': '\w{16}'\}", reason)


def test_a_checkout_that_is_moved_has_nothing_to_do(finished: Checkout) -> None:
    moved = Checkout(finished.folder.with_name("moved"))
    finished.folder.rename(moved.folder)
    try:
        assert moved.planned("finished.yaml") == Counter()
    finally:
        moved.folder.rename(finished.folder)


def test_what_is_read_of_a_model_decides_and_dates_do_not(finished: Checkout, config: dict[str, Any]) -> None:
    folder = Path(config["models"]["tiny"]["source"].removeprefix("path:"))
    readme, weights = folder / "README.md", folder / "model.safetensors"
    readme.write_text("About this model.")
    try:
        weights.touch()
        assert finished.planned("finished.yaml") == Counter()
    finally:
        readme.unlink()


def test_a_dataset_that_is_replaced_by_an_older_file_is_fetched_again(
    checkout: Checkout, config: dict[str, Any]
) -> None:
    rows = (ROOT / "lenscore/data/questions.jsonl").read_text(encoding="utf-8").splitlines()
    file = checkout.folder / "own.jsonl"
    file.write_text("\n".join(rows[:20]), encoding="utf-8")
    own = {**config, "study": "own", "dataset": {"source": "path:own.jsonl"}, "lenses": ["logit"]}
    name = checkout.write_config(own, "own.yaml")
    target = str(plan_of(own).inputs("build_contexts")({"set": "main", "shard": "0000"})["questions"])
    done = checkout.snakemake(target, "--configfile", name)
    assert done.returncode == 0, done.stderr
    older = checkout.folder / "older.jsonl"
    older.write_text("\n".join(rows[20:40]), encoding="utf-8")
    os.utime(older, (1, 1))
    older.replace(file)
    assert checkout.planned(name)["fetch_dataset"] == 1
    done = checkout.snakemake(target, "--configfile", name)
    assert done.returncode == 0, done.stderr
    questions = pq.read_table(checkout.folder / target)["question"].to_pylist()
    assert questions == [json.loads(row)["question"] for row in rows[20:40]]


def test_snakemakes_own_report_shows_the_charts(finished: Checkout) -> None:
    done = finished.snakemake("--configfile", "finished.yaml", "--report", "report.html")
    assert done.returncode == 0, done.stderr
    report = (finished.folder / "report.html").read_text(encoding="utf-8")
    assert "Refinement depth is the number of layers" in report
    assert "These are observations" in report
    assert "Charts" in report


def test_snakemakes_own_report_as_a_folder_holds_the_page_and_every_chart(finished: Checkout) -> None:
    done = finished.snakemake("--configfile", "finished.yaml", "--report", "report.zip")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(finished.folder / "report.zip") as archive:
        files = [Path(name).name for name in archive.namelist()]
    assert files.count("index.html") >= 1
    assert {f"{chart}.svg" for chart in CHARTS} <= set(files)


def test_a_study_given_is_not_merged_into_the_default(finished: Checkout) -> None:
    (model,) = (finished.folder / "resources/models").iterdir()
    assert model.name.startswith("tiny-")


def test_a_config_that_cannot_be_run_starts_no_job(checkout: Checkout, config: dict[str, Any]) -> None:
    """tests/test_checks.py has more of its faults."""
    name = checkout.write_config({**config, "study": "wrong", "questions": 100_000, "typo": 1}, "wrong.yaml")
    done = checkout.snakemake("--configfile", name)
    assert done.returncode != 0
    assert "typo: unknown key" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (checkout.folder / "results/wrong").exists()


def test_a_context_over_the_window_is_an_error_that_names_it(checkout: Checkout, config: dict[str, Any]) -> None:
    sets = {"main": {"documents": [10], "positions": 2, "overflow": "error"}}
    plain = {"lenses": ["logit"], "ablation": {"questions": 0}}
    over = {**config, **plain, "study": "over", "questions": 1, "context_sets": sets}
    name = checkout.write_config(over, "over.yaml")
    done = checkout.snakemake("--configfile", name)
    log = (checkout.folder / "logs/over/estimate_study.log").read_text()
    assert done.returncode != 0
    assert "the model's window is 1024" in log
    assert not list((checkout.folder / "results/over").rglob("*.parquet"))  # the estimate has met it, before all else


def test_only_what_is_new_is_extracted(checkout: Checkout, config: dict[str, Any]) -> None:
    """A lens that is added, a lens that is taken away, another study of the same: as if extracted at once."""

    def records(study: str, lenses: list[str]) -> pa.Table:
        """Make the study's one file of records, and read it."""
        changed = {**config, "study": study, "questions": 1, "shard_size": 1, "lenses": lenses}
        name = checkout.write_config({**changed, "ablation": {"questions": 0}}, f"{study}.yaml")
        file = f"results/{study}/records/tiny/main/shard-0000.parquet"
        done = checkout.snakemake(file, "--configfile", name)
        assert done.returncode == 0, done.stderr
        return pq.read_table(checkout.folder / file)

    def said(study: str) -> str:
        return (checkout.folder / f"logs/{study}/extract_shard/tiny/main/0000.log").read_text()

    logit = records("grown", ["logit"])
    assert "from the cache" not in said("grown")
    both = records("grown", ["logit", "tuned"])
    assert "from the cache: the records of lens logit\n" in said("grown")
    assert set(both["lens"].to_pylist()) == {"logit", "tuned"}
    assert logit.equals(both.filter(pc.equal(both["lens"], "logit")))
    # Another study with the same contexts, model and lens extracts nothing.
    assert logit.equals(records("same", ["logit"]))
    assert "self-check" not in said("same")
    # Without the cache both are extracted at once: the same.
    shutil.rmtree(checkout.folder / "results/.cache")
    (checkout.folder / "results/grown/records/tiny/main/shard-0000.parquet").unlink()
    assert both.equals(records("grown", ["logit", "tuned"]))
    assert "self-check" in said("grown")
