"""The report: charts that draw what the tables hold, sentences that say no more, a page that stands by itself."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
import vl_convert

from lenscore.analysis.controls import controls
from lenscore.analysis.tables import study_tables
from lenscore.report.charts import CHARTS
from lenscore.report.contents import CHARTS as ENTRIES
from lenscore.report.page import render_page
from lenscore.report.sentences import about_coverage, about_disagreement, about_layers, about_shape, no_curve
from lenscore.study import AnalysisSpec, Study
from tests.test_analysis import depth_row
from tests.test_groups import control_rows
from tests.test_store import SmallStudy

SHAPE: dict[str, Any] = {
    "model": "m", "context_set": "main", "lens": "logit", "n_documents": 5, "n_questions": 40, "n_tokens": 300,
    "lowest": 1.0, "lowest_position": 0.0, "highest": 2.0, "highest_position": 0.5, "verdict": "inverted U",
    "reason": None, "supporting_tests": 3, "middle": 0.8, "middle_low": 0.2, "middle_high": 1.4,
    "middle_p_holm": 0.0004, "slope": -0.1, "slope_low": -0.3, "slope_high": 0.1, "slope_p_holm": 0.4,
    "smallest_middle": 0.61,
}  # fmt: skip
RULES = {"confidence": 0.95, "smallest_effect": 0.5}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "The curve is an inverted U; all three tests of that shape say so"),
        ({"supporting_tests": 1}, "The middle lies above the ends (verdict: inverted U), but only 1 of three tests"),
        ({"verdict": "U", "middle": -0.8, "supporting_tests": 2}, "The middle lies below the ends (verdict: U)"),
        ({"verdict": "rising"}, "The curve is rising: it tilts, and is not shown to turn"),
        ({"verdict": "flat"}, "smaller than 0.5 layers"),
        ({"verdict": "undecided"}, "The shape is undecided"),
    ],
)
def test_the_verdict_is_put_into_words(changes: dict[str, Any], says: str) -> None:
    sentence = about_shape({**SHAPE, **changes}, RULES)
    assert says in sentence
    assert "0.80 layers" in sentence
    assert "p < 0.001" in sentence
    assert "A difference of middle and ends of 0.61 layers" in sentence


def test_a_curve_that_cannot_be_tested_says_why() -> None:
    sentence = about_shape({**SHAPE, "verdict": "undecided", "middle": None, "reason": "2 questions"}, RULES)
    assert sentence.endswith("Its shape cannot be tested: 2 questions.")


def test_disagreements_name_every_way_of_asking() -> None:
    ways = [("refinement_depth", "all", "each_position")]
    others = [("prediction_depth", "first", "every_position"), ("prediction_depth", "all", "every_position")]
    finding = {**SHAPE, "verdicts": [{"verdict": "U", "ways": ways}, {"verdict": "flat", "ways": others}]}
    sentence = about_disagreement(finding)
    assert "a U for refinement depth (all tokens, each position's own)" in sentence
    assert "flat for prediction depth (first tokens, the same everywhere) and prediction depth (all tokens" in sentence


def test_nothing_right_is_said_plainly() -> None:
    assert "No answer token is right" in no_curve()


def test_busiest_layers_leave_out_layers_that_do_nothing() -> None:
    finding = {
        "model": "m",
        "measure": "share_settled",
        "layers": [30, 29, 1],
        "values": [0.75, 0.25, 0.0],
        "n_layers": 30,
    }
    assert about_layers(finding) == "m: Most settle at layers 30 (75%) and 29 (25%), of 30."


def test_what_was_cut_skipped_and_left_out_is_said() -> None:
    row = {
        "model": "m", "context_set": "main", "condition": "documents", "n_documents": 8, "n_contexts": 10, "n_whole": 2,
        "n_cut": 5, "n_skipped": 3, "n_questions_skipped": 1, "mean_tokens_cut": 41.2, "n_questions_left_out": 2,
    }  # fmt: skip
    cut, skipped, left_out = about_coverage([row])
    assert "cut in 5 of 10 contexts" in cut
    assert "41 tokens" in cut
    assert "3 of 10 contexts, of 1 question, were skipped" in skipped
    assert "2 questions left out" in left_out
    assert about_coverage([{**row, "n_cut": 0, "n_skipped": 0, "n_questions_left_out": 0}]) == []


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    study = SmallStudy(tmp_path_factory.mktemp("tables"))
    study.load()
    tables = study_tables(study.target, AnalysisSpec(resamples=200))[0]
    # The small study has no controls and no tuned lens.
    divergence = pd.DataFrame(
        [("tiny", layer, 9.0 - 3 * layer, 3.0 - layer, layer, 20) for layer in range(4)],
        columns=tables["lens_divergence"].columns,
    )
    compared = controls(control_rows(), AnalysisSpec(resamples=200))
    return {**tables, "controls": compared, "lens_divergence": divergence}


@pytest.mark.parametrize("name", CHARTS)
def test_each_chart_draws_its_table(name: str, tables: dict[str, pd.DataFrame]) -> None:
    table = tables[ENTRIES[name].table]
    chart = CHARTS[name](table)
    svg = vl_convert.vegalite_to_svg(chart.to_dict())
    empty = vl_convert.vegalite_to_svg(CHARTS[name](table.iloc[:0]).to_dict())
    assert svg.count("<path") > empty.count("<path") + 5
    assert "NaN" not in svg
    assert "undefined" not in svg


@pytest.mark.parametrize("name", CHARTS)
def test_an_empty_table_says_so(name: str, tables: dict[str, pd.DataFrame]) -> None:
    svg = vl_convert.vegalite_to_svg(CHARTS[name](tables[ENTRIES[name].table].iloc[:0]).to_dict())
    assert re.search(r"No (answer token|context)|The study has no", svg)


def test_several_models_have_a_panel_each(tables: dict[str, pd.DataFrame]) -> None:
    for name in CHARTS:
        table = tables[ENTRIES[name].table]
        both = pd.concat([table, table.assign(model="another-model")])
        assert "another-model" in vl_convert.vegalite_to_svg(CHARTS[name](both).to_dict())


def test_the_curve_plots_the_means_of_the_table() -> None:
    from lenscore.analysis.curves import refinement_curve

    rows = pd.DataFrame([depth_row("a", place, 0, 1, 1 + place) for place in range(3)])
    table = refinement_curve(rows, AnalysisSpec(resamples=100))
    spec = CHARTS["refinement_curve"](table).to_dict()
    plotted = [row for rows in spec["datasets"].values() for row in rows if row.get("measure") == "refinement_depth"]
    assert {(row["tokens"], row["population"]) for row in plotted} == {("all", "each_position")}
    points = {(row["relative_position"], row["mean"]) for row in plotted}
    assert points == {(0.0, 0.0), (0.5, 1.0), (1.0, 2.0)}


class Page(HTMLParser):
    """Collects what a page loads from elsewhere, its text, and its headings."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.text = ""
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attributes)
        if tag in ("script", "iframe", "link") and (values.get("src") or values.get("href")):
            self.loaded.append(str(values))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] not in ("script", "style"):
            self.text += data


EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    study = SmallStudy(folder)
    study.load()
    config = Study.model_validate(
        {
            "study": "small",
            "dataset": {"source": "path:<b>questions</b>.jsonl"},
            "questions": 4,
            "context_sets": {"main": {"documents": [2], "positions": "all"}},
            "models": {"tiny": {"source": "path:tiny"}},
        }
    ).model_dump(mode="json")
    with duckdb.connect(str(study.target)) as database:
        database.execute("delete from study")
        for key, value in {
            "study": "small",
            "config": config,
            "dataset": {"source": EVIL},
            "extraction_code": "c0de",
            "versions": {"snakemake": "9.27.1"},
        }.items():
            database.execute("insert into study values (?, ?)", [key, json.dumps(value)])
    tables, findings = study_tables(study.target, AnalysisSpec(resamples=200))
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    (folder / "findings.json").write_text(json.dumps(findings))
    for name, chart in CHARTS.items():
        spec = chart(tables[ENTRIES[name].table]).to_dict()
        spec["description"] = EVIL
        (folder / f"{name}.json").write_text(json.dumps(spec))
    return render_page(study.target, folder / "findings.json", folder, folder, None)


def test_the_page_loads_nothing(page: str) -> None:
    parsed = Page()
    parsed.feed(page)
    assert parsed.loaded == []
    assert "@import" not in page
    assert len(page.encode()) < 3_000_000


def test_the_page_has_every_part(page: str) -> None:
    parsed = Page()
    parsed.feed(page)
    assert parsed.tags.count("h1") == 1
    assert list(ENTRIES) == list(CHARTS)
    for name, entry in ENTRIES.items():
        assert entry.heading in parsed.text
        assert f'id="{name}"' in page
    for words in (
        "4 questions",
        "Essential layers",
        "What was read, cut and skipped",
        "self-check",
        "c0de",
        "snakemake 9.27.1",
        "shared",
        "float32, products of matrices exact",
    ):
        assert words in parsed.text
    assert "cannot be tested" in parsed.text  # two positions have no middle


def test_text_of_the_data_is_text_in_the_page(page: str) -> None:
    assert EVIL not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<b>questions</b>" not in page


def test_the_charts_scripts_are_json(page: str) -> None:
    body = page[page.index("const charts = {") :]
    for name in CHARTS:
        spec = re.search(rf"^  {name}: (.*),$", body, re.MULTILINE)
        assert spec is not None
        assert '"mark"' in spec[1]
        assert json.loads(spec[1])["description"] == EVIL


def test_a_page_without_any_right_token(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path)
    for shard, rows in study.rows.items():
        for row in rows:
            row["top1_id"] = 1
        study.write_records(shard)
    study.load()
    tables, _ = study_tables(study.target, AnalysisSpec(resamples=200))
    assert tables["essential_layers"].empty
    for name in CHARTS:
        CHARTS[name](tables[ENTRIES[name].table]).to_dict()
    assert set(tables["shapes"]["measure"]) == {"prediction_depth"}
