"""The report: charts that draw what the tables hold, sentences that say no more, a page that stands by itself."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import vl_convert
from snakemake.common.configfile import load_configfile

from lenscore.analysis.measures import MEASURES, TARGETS
from lenscore.report.charts import CHART_FUNCTIONS, files
from lenscore.report.contents import CHARTS
from lenscore.report.names import POPULATIONS
from lenscore.report.page.design import summary
from lenscore.report.page.explorer import BUDGET
from lenscore.report.page.inline_data import CHARTS_BUDGET
from lenscore.report.page.render import render_page, vega_script
from lenscore.report.page.sentences import (
    about_coverage,
    about_decomposition,
    about_disagreement,
    about_layers,
    about_shape,
    about_verdicts,
    about_ways,
    verdict_sentences,
)
from lenscore.report.page.tables import verdict_table
from lenscore.study.analysis import PrimaryAnalysis
from lenscore.study.study import read_study
from tests.made_study import EVIL, write_page
from tests.small_study import SmallStudy
from tests.test_analysis import depth_row

pytestmark = pytest.mark.slow

SHAPE: dict[str, Any] = {
    "model": "m", "context_set": "main", "lens": "logit", "n_documents": 5, "n_questions": 40, "n_tokens": 300,
    "measure": "refinement_depth", "tokens": "content", "population": "every_position",
    "lowest": 1.0, "lowest_position": 0.0, "highest": 2.0, "highest_position": 0.5, "verdict": "inverted U, size open",
    "form": "inverted U", "size": "open", "smallest_effect": 0.5, "first": -0.9, "first_low": -1.6, "first_high": -0.2,
    "first_p_holm": 0.02, "last": -1.1, "last_low": -1.8, "last_high": -0.4, "last_p_holm": 0.01,
    "deviation": 0.5, "deviation_position": 0.5, "deviation_most": 0.93,
    "reason": None, "supporting_tests": 3, "middle": 0.8, "middle_low": 0.2, "middle_high": 1.4,
    "middle_p_holm": 0.0004, "slope": -0.1, "slope_low": -0.3, "slope_high": 0.1, "slope_p_holm": 0.4,
    "smallest_middle": 0.61,
}  # fmt: skip
RULES = {"confidence": 0.95}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "The curve is an inverted U; all three tests of that shape say so"),
        ({}, "It bends; whether by more or by less than the smallest effect, 0.50 layers, is open."),
        ({"size": "within"}, "It bends, by less than the smallest effect, 0.50 layers."),
        ({"size": "beyond"}, "It bends by more than the smallest effect, 0.50 layers."),
        ({"supporting_tests": 1}, "The middle lies above the ends (verdict: inverted U), but only 1 of three tests"),
        ({"form": "U", "middle": -0.8, "supporting_tests": 2}, "The middle lies below the ends (verdict: U)"),
        ({"form": "rising", "size": "within"}, "it tilts, and is not shown to turn. It tilts, by less than"),
        (
            {"form": "recency step down", "size": "beyond"},
            "The last position alone lies below the others (a recency step), by 1.10 layers (−1.80 to −0.40, "
            "p = 0.010); bend and tilt among these are shown to be smaller. It steps down there by more than the "
            "smallest effect",
        ),
        (
            {"form": "primacy step up", "first": 0.9},
            "The first position alone lies above the others (a primacy step)",
        ),
        (
            {"verdict": "flat"},
            "bend, tilt and the deviation of every position are shown to be smaller than 0.50 layers",
        ),
        ({"verdict": "undecided"}, "The shape is undecided"),
    ],
)
def test_the_verdict_is_put_into_words(changes: dict[str, Any], says: str) -> None:
    sentence = about_shape({**SHAPE, **changes}, RULES)
    assert says in sentence
    assert "0.80 layers" in sentence
    assert "p < 0.001" in sentence
    assert (
        "The position furthest from the curve's mean is 0.50 (+0.50); none lies further from it than 0.93" in sentence
    )
    assert "A difference of middle and ends of 0.61 layers or more would be found, after correction" in sentence


def test_a_bend_that_is_negligible_is_not_plainly_an_inverted_u() -> None:
    # The case of a finding that overclaimed: +0.20 (+0.04 to +0.35) at p = 0.046, all of it within ±0.5 layers.
    weak = {"middle": 0.2, "middle_low": 0.04, "middle_high": 0.35, "middle_p_holm": 0.046, "size": "within"}
    row = {**SHAPE, **weak, "verdict": "inverted U within the bound"}
    assert "by less than the smallest effect" in about_shape(row, RULES)
    assert about_verdicts([row]).endswith("is an inverted U (by less than 0.50 layers) with 5 documents.")


def test_verdicts_are_put_in_short() -> None:
    shapes = [
        SHAPE,
        {**SHAPE, "n_documents": 10, "supporting_tests": 2, "size": "within"},
        {**SHAPE, "n_documents": 20, "verdict": "flat"},
        {**SHAPE, "n_documents": 30, "form": "recency step down", "size": "beyond", "verdict": "…"},
        {**SHAPE, "n_documents": 40, "verdict": "undecided"},
    ]
    assert about_verdicts(shapes) == (
        "m: against the gold document's position, refinement depth (content tokens, the same everywhere) is an "
        "inverted U (by how much is open) with 5 documents, higher in the middle, though not shown to turn "
        "(by less than 0.50 layers) with 10 documents, "
        "flat (within ±0.50 layers) with 20 documents, lower at the last position alone (by more than 0.50 layers) "
        "with 30 documents and of undecided shape with 40 documents."
    )


def test_a_curve_that_cannot_be_tested_says_why() -> None:
    sentence = about_shape({**SHAPE, "verdict": "undecided", "middle": None, "reason": "2 questions"}, RULES)
    assert sentence.endswith("Its shape cannot be tested: 2 questions.")


def test_disagreements_name_every_way_of_asking() -> None:
    ways = [("refinement_depth", "all", "each_position")]
    others = [
        ("own_token_refinement_depth", "first", "every_position"),
        ("own_token_refinement_depth", "all", "every_position"),
    ]
    finding = {
        **SHAPE,
        "verdicts": [
            {"verdict": "U, size open", "form": "U", "size": "open", "ways": ways},
            {"verdict": "flat", "form": "none shown", "size": "within", "ways": others},
        ],
    }
    sentence = about_disagreement(finding)
    assert "a U (by how much is open) for refinement depth (all tokens, each position's own)" in sentence
    assert (
        "flat (within ±0.50 layers) for own-token refinement depth (first tokens, the same everywhere) "
        "and own-token refinement depth (all tokens" in sentence
    )


def test_many_ways_of_asking_are_counted() -> None:
    ways = [(target, "all", population) for target in TARGETS for population in POPULATIONS]
    finding = {
        **SHAPE,
        "verdicts": [
            {"verdict": "U", "form": "U", "size": "open", "ways": ways[:3]},
            {"verdict": "flat", "form": "none shown", "size": "within", "ways": ways[3:]},
        ],
    }
    sentence = about_disagreement(finding)
    assert "flat (within ±0.50 layers) for 5 of 8 of them." in sentence
    assert "refinement depth (all tokens, first token right)" in sentence


def test_verdicts_have_a_row_per_curve_and_tokens_and_a_column_per_population() -> None:
    shapes = pd.DataFrame(
        {**SHAPE, "n_documents": n, "measure": "refinement_depth", "tokens": tokens, "population": population,
         "verdict": f"{tokens} {population} {n}"}
        for tokens in ("all", "first")
        for population in ("each_position", "every_position", "first_right")
        for n in (5, 10)
        if (tokens, population) != ("first", "first_right")
    )  # fmt: skip
    table = verdict_table(shapes)
    assert table["populations"] == ["each position's own", "the same everywhere", "first token right", "answer right"]
    assert [(row["n_documents"], row["over"], row["verdicts"]) for row in table["rows"]] == [
        (n, f"refinement depth, {words}", [f"{tokens} each_position {n}", f"{tokens} every_position {n}", third, None])
        for n in (5, 10)
        for tokens, words, third in (("all", "all tokens", f"all first_right {n}"), ("first", "first tokens", None))
    ]


def test_all_ways_of_asking_are_put_in_words() -> None:
    row = {**SHAPE, "contrast": "slope", "n_ways": 152, "median": -0.002, "median_p": 0.6434, "n_significant": 12,
           "n_significant_p": 0.0004}  # fmt: skip
    assert about_ways(row) == (
        "m, 5 documents: of 152 ways of asking, the median of the slope from first to last position is +0.00 layers "
        "(joint permutation test over all of them, p = 0.643); 12 are beyond 1.96 standard errors in one direction "
        "(p < 0.001)."
    )


def test_what_a_difference_is_made_of_is_put_in_words() -> None:
    parts = {"difference": 2.75, "within": 1.25, "composition": 1.5}
    row = {
        **SHAPE, "measure": "refinement_depth", "contrast": "middle_ends", "n_stayers": 2, **parts,
        **{f"{name}_low": value - 1 for name, value in parts.items()},
        **{f"{name}_high": value + 1 for name, value in parts.items()},
    }  # fmt: skip
    assert about_decomposition(row) == (
        "m, 5 documents: refinement depth in the middle less at the ends is +2.75 (+1.75 to +3.75) layers: +1.25 "
        "(+0.25 to +2.25) within the 2 answer tokens that are right at all of these positions, and +1.50 "
        "(+0.50 to +2.50) from which other tokens are right where."
    )
    nobody = {**row, "contrast": "last_first", "within": None, "composition": None, "n_stayers": 0}
    assert about_decomposition(nobody) == (
        "m, 5 documents: refinement depth at the last position less at the first is +2.75 (+1.75 to +3.75) layers; no "
        "answer token is right at all of these positions, so it cannot be split."
    )


def test_each_model_set_and_lens_has_one_verdict_sentence() -> None:
    shapes = [SHAPE, {**SHAPE, "n_documents": 10}, {**SHAPE, "lens": "tuned"}, {**SHAPE, "context_set": "short"}]
    sentences = verdict_sentences(shapes)
    names = [(row["model"], row["lens"], row["words"].partition(":")[0]) for row in sentences]
    assert names == [("m", "logit", "m"), ("m", "tuned", "m, tuned lens"), ("m", "logit", "m, short")]
    assert "with 5 documents and an inverted U (by how much is open) with 10 documents" in sentences[0]["words"]


def test_busiest_layers_leave_out_layers_that_do_nothing() -> None:
    finding = {
        "model": "m",
        "context_set": "main",
        "lens": "logit",
        "measure": "share_settled",
        "layers": [30, 29, 1],
        "values": [0.75, 0.25, 0.0],
        "n_layers": 30,
    }
    assert about_layers(finding) == "m: most answer tokens settle at layers 30 (75%) and 29 (25%), of 30."


def test_what_was_cut_skipped_and_left_out_is_said() -> None:
    row = {
        "model": "m", "context_set": "main", "condition": "documents", "n_documents": 8, "n_contexts": 10, "n_whole": 2,
        "n_cut": 5, "n_skipped": 3, "n_questions_skipped": 1, "mean_tokens_cut": 41.2, "n_questions_left_out": 2,
        "n_distractors_with_answer": 4, "n_distractors_dropped": 0,
    }  # fmt: skip
    cut, skipped, left_out, with_answer = about_coverage([row])
    assert "cut in 5 of 10 contexts" in cut
    assert "41 tokens" in cut
    assert "3 of 10 contexts, of 1 question, were skipped" in skipped
    assert "2 questions left out" in left_out
    assert "4 that are kept hold an accepted answer" in with_answer
    dropped = about_coverage([{**row, "n_distractors_with_answer": 0, "n_distractors_dropped": 3}])[-1]
    assert "3 that were dropped hold an accepted answer" in dropped
    none = {"n_cut": 0, "n_skipped": 0, "n_questions_left_out": 0, "n_distractors_with_answer": 0}
    assert about_coverage([row | none]) == []


# The page is of two positions, too few for a bend or a tilt: tests/test_specification_curve.py draws that chart.
@pytest.mark.parametrize("name", [name for name in CHARTS if name != "specification_curve"])
def test_each_chart_draws_its_table_and_says_if_it_is_empty(name: str, page_file: Path) -> None:
    study = page_file.parent.parent
    spec = json.loads((study / f"charts/{name}.json").read_text())
    svg = vl_convert.vegalite_to_svg(spec)
    no_rows = pd.read_parquet(study / f"tables/{CHARTS[name].table}.parquet").iloc[:0]
    empty = vl_convert.vegalite_to_svg(CHART_FUNCTIONS[name](no_rows).to_dict())
    assert svg.count("<path") > empty.count("<path") + 5
    assert "NaN" not in svg
    assert "undefined" not in svg
    assert re.search(r"No (answer token|context)|The study has no", empty)
    # A panel for each of the study's two models; the grid shows one context.
    assert {model for model in ("tiny", "twin") if re.search(rf">{model}\b", svg)} == (
        set() if name == "lens_grid" else {"tiny", "twin"}
    )


DRAW = """
import sys
from pathlib import Path
import pandas as pd
from lenscore.report.charts.files import write_chart
name, table, folder = sys.argv[1:]
write_chart(name, pd.read_parquet(table), Path(folder))
"""


def test_charts_drawn_in_one_process_are_those_drawn_apart(
    page_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = page_file.parent.parent
    together, apart = tmp_path / "together", tmp_path / "apart"
    together.mkdir()
    (together / "no_longer_drawn.svg").touch()
    apart.mkdir()
    # Both have a colour gradient, and Vega goes on numbering gradients from chart to chart.
    graded = ("right_by_layer", "lens_grid")
    chosen = {name: CHARTS[name] for name in ("refinement_curve", "depth_curves", *graded)}
    monkeypatch.setattr(files, "CHARTS", chosen)
    read: list[str] = []
    read_parquet = pd.read_parquet
    monkeypatch.setattr(pd, "read_parquet", lambda path: (read.append(path.stem), read_parquet(path))[1])
    files.write_charts({path.stem: path for path in (study / "tables").glob("*.parquet")}, together)
    assert sorted(read) == ["examples", "refinement_curve", "right_by_layer"]
    assert {file.name for file in together.iterdir()} == {
        f"{name}.{kind}" for name in chosen for kind in ("json", "svg", "png")
    }
    for name in chosen:
        spec = json.loads((together / f"{name}.json").read_text())
        assert spec == json.loads((study / f"charts/{name}.json").read_text())
    for name in graded:
        table = study / f"tables/{CHARTS[name].table}.parquet"
        subprocess.run([sys.executable, "-c", DRAW, name, str(table), str(apart)], check=True)
        assert '"url(#gradient_0)"' in (apart / f"{name}.svg").read_text()
    for file in apart.iterdir():
        assert file.read_bytes() == (together / file.name).read_bytes()
    assert len(list(apart.iterdir())) == 2 * 3


def test_the_curve_plots_the_means_of_the_table() -> None:
    from lenscore.analysis.bootstrap import Bootstrap
    from lenscore.analysis.curves import refinement_curve

    rows = pd.DataFrame([depth_row("a", place, 0, 1, 1 + place) for place in range(3)])
    table = refinement_curve(rows, Bootstrap(resamples=100, confidence=0.95, seed=0), PrimaryAnalysis())
    spec = CHART_FUNCTIONS["refinement_curve"](table).to_dict()
    plotted = [row for rows in spec["datasets"].values() for row in rows]
    assert {row["measure"] for row in plotted} == {"refinement_depth"}
    points = {(row["relative_position"], row["mean"]) for row in plotted}
    assert points == {(0.0, 0.0), (0.5, 1.0), (1.0, 2.0)}


def test_shares_of_depth_put_models_of_different_depths_on_one_axis() -> None:
    """By hand: 0, 1 and 2 layers are 0, 1/8 and 1/4 of a model of 8 layers, and 0, 1/80 and 1/40 of one of 80."""
    from lenscore.analysis.bootstrap import Bootstrap
    from lenscore.analysis.curves import refinement_curve

    rows = pd.DataFrame([depth_row("a", place, 0, 1, 1 + place) for place in range(3)])
    both = pd.concat([rows, rows.assign(model="deep", n_layers=80)])
    table = refinement_curve(both, Bootstrap(resamples=100, confidence=0.95, seed=0), PrimaryAnalysis())
    spec = CHART_FUNCTIONS["depth_shares"](table).to_dict()
    plotted = [row for rows in spec["datasets"].values() for row in rows]
    points = {(row["drawn"], row["relative_position"], row["mean"]) for row in plotted}
    assert points == {
        ("m", 0.0, 0.0), ("m", 0.5, 0.125), ("m", 1.0, 0.25),
        ("deep", 0.0, 0.0), ("deep", 0.5, 0.0125), ("deep", 1.0, 0.025),
    }  # fmt: skip
    colours = {layer["encoding"]["color"]["field"] for layer in spec["spec"]["layer"]}
    axis = spec["spec"]["layer"][1]["encoding"]["y"]
    assert colours == {"drawn"}
    assert axis["axis"]["format"] == "%"
    assert axis["title"] == ["refinement depth", "(share of the model's layers)"]


def test_the_summary_names_all_lenses_and_untrained_weights(small_config: dict[str, Any]) -> None:
    (name, spec), *_ = small_config["models"].items()
    models = {name: {**spec, "weights": "trained"}, "at-random": {**spec, "weights": "untrained"}}
    said = summary({**small_config, "models": models, "lenses": ["logit", "tuned", "trimmed"]}, 6)
    assert said.startswith(f"{name} and at-random (untrained weights) on 6 questions of ")
    assert "read through the logit, tuned and trimmed lens" in said


class Page(HTMLParser):
    """Collects what a page loads from elsewhere, its text, its headings, and the settings that it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.text = ""
        self.tags: list[str] = []
        self.ids: list[str | None] = []
        self.config = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.tags.append(tag)
        self.ids.append(values.get("id"))
        if tag in ("script", "iframe", "link") and (values.get("src") or values.get("href")):
            self.loaded.append(str(values))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] not in ("script", "style"):
            self.text += data
        if self.ids and self.ids[-1] == "config":
            self.config += data


@pytest.fixture(scope="module")
def page(small_page_file: Path) -> str:
    return small_page_file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def small_config(small_page_file: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((small_page_file.parent.parent / "config.json").read_text(encoding="utf-8"))
    return config


def test_the_settings_on_the_page_make_the_study_again(
    small_page_file: Path, small_config: dict[str, Any], tmp_path: Path
) -> None:
    told = {
        **small_config,
        "analysis": {
            **small_config["analysis"],
            "confidence": 0.9,
            "smallest_effect": {"share": 1e-05, "layers": None},
        },
        "report": {"title": "<b>no</b>: 'é' & \"yes\"", "examples": 3},
    }
    study = small_page_file.parent.parent
    parsed = Page()
    parsed.feed(render_page(study / "study.duckdb", study / "tables", study / "charts", told))
    parsed.close()
    assert "snakemake --cores 4 --configfile small.yaml" in parsed.text
    file = tmp_path / "small.yaml"
    file.write_text(parsed.config, encoding="utf-8")
    config = load_configfile(str(file))
    assert config == told
    assert read_study(config).model_dump(mode="json") == told


def test_the_page_loads_nothing(page: str) -> None:
    parsed = Page()
    parsed.feed(page)
    assert parsed.loaded == []
    assert "@import" not in page
    assert len(page.encode()) < 3_000_000


def test_the_budgets_keep_the_page_under_five_megabytes() -> None:
    # The rest is the tables' HTML and the style: five tables of 600 rows at the most.
    assert len(vega_script()) + CHARTS_BUDGET + BUDGET < 4_200_000


def test_a_page_of_many_rows_stays_small_and_says_what_it_leaves_out(
    page: str, small_page_file: Path, small_config: dict[str, Any], tmp_path: Path
) -> None:
    study = small_page_file.parent.parent
    shutil.copytree(study / "tables", tmp_path / "tables")
    essential = pd.read_parquet(tmp_path / "tables/essential_layers.parquet")
    many = pd.concat([essential.assign(model=f"model-{i:04d}") for i in range(300)])
    many.to_parquet(tmp_path / "tables/essential_layers.parquet")
    large = render_page(study / "study.duckdb", tmp_path / "tables", study / "charts", small_config)
    n_rows = 300 * len(essential[(essential["region"] == "all") & essential["n_documents"].isna()])
    assert f"The first 600 of {n_rows} rows." in large
    assert "The first 600" not in page
    assert len(large.encode()) - len(page.encode()) < 600_000


def test_the_caption_says_what_a_chart_pools(page_file: Path) -> None:
    page = page_file.read_text(encoding="utf-8")
    captions = dict(
        re.findall(r'id="(\w+)-heading">(?:(?!-heading">).)*?<figcaption>(.*?)</figcaption>', page, re.DOTALL)
    )
    assert "Over all numbers of documents and positions, whatever is chosen" in captions["lens_divergence"]
    for chart in ("controls", "depth_by_group"):
        assert "Over all positions, whatever is chosen" in captions[chart]
    for chart in (
        "refinement_curve", "accuracy_curve", "depth_curves", "layers_reached", "right_by_layer", "essential_layers",
        "flips", "populations",
    ):  # fmt: skip
        assert "whatever is chosen" not in captions[chart]


def test_the_page_has_every_part(page: str) -> None:
    parsed = Page()
    parsed.feed(page)
    assert parsed.tags.count("h1") == 1
    assert list(CHARTS) == list(CHART_FUNCTIONS)
    for name, entry in CHARTS.items():
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
        "float32, exact matrix products",
        "d1935",
    ):
        assert words in parsed.text
    assert "cannot be tested" in parsed.text  # two positions have no middle


def test_text_of_the_data_is_text_in_the_page(page: str) -> None:
    assert EVIL not in page
    assert "&lt;script&gt;document.title" in page
    assert "<b>questions</b>" not in page


def test_the_charts_data_are_json_in_the_page(page: str) -> None:
    found = re.search(r'<script type="application/json" id="chart-specs">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    specs = json.loads(found[1])
    assert list(specs) == [name for name in CHARTS if name != "lens_grid"]
    for spec in specs.values():
        assert spec["datasets"]
        for table in spec["datasets"].values():
            assert {len(row) for row in table["rows"]} == {len(table["columns"])}


def test_a_page_without_any_right_token(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path)
    for shard, rows in study.rows.items():
        for row in rows:
            row |= {"top1_id": 1, "target_rank": 99}
        study.write_records(shard)
    study.load()
    page = write_page(study, tmp_path).read_text(encoding="utf-8")
    assert "No answer token is right at the last layer" in page
    shapes = pd.read_parquet(tmp_path / "tables/shapes.parquet")
    assert {MEASURES[name].target for name in shapes["measure"]} == {"own"}
