"""The workflow from its start to the report on a tiny GPT-2, and what each change re-runs."""

import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from lenscore.report.contents import CHARTS
from tests.conftest import Checkout

pytestmark = pytest.mark.slow

LENSES = {"logit", "tuned"}
N_CHARTS = len(CHARTS)
DOWNSTREAM = Counter(load_database=1, analyse=1, choose_examples=1, render_chart=N_CHARTS, render_report=1)
# What stands on the statistics: not the chart of examples, which are chosen from the database.
STATISTICS = Counter(analyse=1, render_chart=N_CHARTS - 1, render_report=1)


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
    assert divergence["layer"].tolist() == [0, 1, 2]
    assert divergence["tuned_kl"].notna().all()
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
    ("file", "rules"),
    [
        ("lenscore/extraction/statistics.py", Counter(extract_shard=2, reference_means=1, ablate_shard=1) + DOWNSTREAM),
        (
            "lenscore/models/unembedding.py",
            Counter(train_lens=1, extract_shard=2, reference_means=1, ablate_shard=1) + DOWNSTREAM,
        ),
        ("lenscore/contexts/build.py", Counter()),
        ("lenscore/sources/models.py", Counter()),
        ("lenscore/store/database.py", DOWNSTREAM),
        ("lenscore/analysis/curves.py", STATISTICS),
        ("lenscore/analysis/examples.py", Counter(choose_examples=1, render_chart=1, render_report=1)),
        ("lenscore/report/charts/curves.py", Counter(render_chart=N_CHARTS, render_report=1)),
        ("lenscore/report/page/templates/page.css", Counter(render_report=1)),
    ],
)
def test_changed_code_runs_what_depends_on_it(finished: Checkout, file: str, rules: Counter[str]) -> None:
    path = finished.folder / file
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    try:
        assert finished.planned("finished.yaml") == rules
    finally:
        path.write_bytes(before)


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
    assert not (finished.folder / "resources/models/smollm2-135m").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"typo": 1}, "typo: unknown key"),
        ({"questions": 100_000}, "questions: 100000 are asked for"),
        ({"context_sets": {"main": {"documents": [2], "positions": [2]}}}, "gold index 2"),
        ({"context_sets": {"main": {"documents": [2], "positions": 2, "prompt": "none-such"}}}, "none-such"),
        ({"models": {"tiny": {"source": "path:no/such/folder"}}}, "no/such/folder"),
    ],
)
def test_a_config_that_cannot_be_run_starts_no_job(
    checkout: Checkout, config: dict[str, Any], changes: dict[str, Any], says: str
) -> None:
    name = checkout.write_config({**config, "study": "wrong", **changes}, "wrong.yaml")
    done = checkout.snakemake("--configfile", name)
    assert done.returncode != 0
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (checkout.folder / "results/wrong").exists()


def test_a_context_over_the_window_is_an_error_that_names_it(checkout: Checkout, config: dict[str, Any]) -> None:
    sets = {"main": {"documents": [10], "positions": 2, "overflow": "error"}}
    plain = {"lenses": ["logit"], "ablation": {"questions": 0}}
    over = {**config, **plain, "study": "over", "questions": 1, "context_sets": sets}
    name = checkout.write_config(over, "over.yaml")
    done = checkout.snakemake("--configfile", name)
    log = (checkout.folder / "logs/over/extract_shard/tiny/main/0000.log").read_text()
    assert done.returncode != 0
    assert "the model's window is 1024" in log
    assert not list((checkout.folder / "results/over").rglob("records/**/*.parquet"))
