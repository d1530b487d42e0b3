"""The page: one HTML file that opens from disk with no network."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import jinja2
import pandas as pd
import vl_convert
import yaml
from markupsafe import Markup

from lenscore.analysis.measures import TARGETS
from lenscore.analysis.stated import STATED_CAUSE, STATED_OBSERVATIONS
from lenscore.report.charts.files import VEGA_LITE
from lenscore.report.charts.grid import Colour, lens_grid
from lenscore.report.charts.theme import DARK
from lenscore.report.contents import CHARTS, EXAMPLES
from lenscore.report.names import curve_name, listed
from lenscore.report.page.accuracy_sentences import accuracy_sentences, no_curve_sentences, white_space_sentences
from lenscore.report.page.design import filter_choices, summary
from lenscore.report.page.explorer import explorer_data
from lenscore.report.page.inline_data import packed_spec, script_json, within_budget
from lenscore.report.page.lens_sentences import about_lenses
from lenscore.report.page.provenance import read_provenance
from lenscore.report.page.sentences import (
    ORDER_MEASURES,
    about_cause,
    about_coverage,
    about_decomposition,
    about_disagreement,
    about_layers,
    about_orders,
    about_shape,
    about_ways,
    sentences_on,
    verdict_sentences,
    way_in_words,
)
from lenscore.report.page.tables import MAX_ROWS, ablation, essential_table, records, verdict_table
from lenscore.report.run_times import RuleTimes, in_words

_TEMPLATES = Path(__file__).parent / "templates"
_EXPOSE_VEGA_EMBED = "window.vegaEmbed = vegaEmbed;"
# The filters by number of documents and by position, and what a chart that lacks one of them pools.
_POOLED = {"shown_documents": "numbers of documents", "shown_positions": "positions"}
# As lenscore.analysis.examples chooses them: each context is listed under the first kind that it belongs to.
_KINDS = {
    "typical": "typical: its mean refinement depth is near the median of its place and number of documents",
    "deepest": "deepest: its mean refinement depth is among the greatest of its place and number of documents",
    "lost": "lost: an answer token that is right at many layers is wrong at the last one",
    "flipped": "flipped: an answer token that ends right is lost and won back on the way, more often than in others",
}


def render_page(
    database: Path, tables: Path, charts: Path, config: Mapping[str, Any], times: Sequence[RuleTimes] = ()
) -> str:
    """Return the HTML of a study's page.

    Args:
        database: the study's DuckDB file.
        tables: the folder of the tables (Parquet) and of ``findings.json``.
        charts: the folder of the charts' Vega-Lite files.
        config: the study's whole config, JSON-able: the page shows it as the settings to make the study again with.
        times: what the jobs of each rule took.
    """
    findings = json.loads((tables / "findings.json").read_text(encoding="utf-8"))
    coverage = _rows(tables, "coverage")
    shapes = pd.read_parquet(tables / "shapes.parquet")
    main_curves = records(shapes[shapes["primary"]])
    of_targets = shapes["measure"].isin(TARGETS)
    essential = pd.read_parquet(tables / "essential_layers.parquet")
    specs = _chart_specs(charts)
    accuracy, primary = _rows(tables, "accuracy_curve"), findings["settings"]["primary"]
    provenance = read_provenance(database)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template("page.html.j2").render(
        title=config["report"]["title"] or f"Where in its depth: {config['study']}",
        study=config["study"],
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        summary=summary(config, provenance["counts"]["questions"]),
        filters=filter_choices(config),
        verdict_sentences=verdict_sentences(main_curves, no_curve_sentences(accuracy, main_curves, primary)),
        accuracy_sentences=accuracy_sentences(accuracy, findings["settings"]),
        curve_sentences=sentences_on(lambda curve: about_shape(curve, findings["settings"]), main_curves)
        + sentences_on(about_disagreement, findings["disagreements"]),
        primary=way_in_words(primary),
        shapes=[{**row, "curve": curve_name(row)} for row in main_curves],
        verdict_tables=[
            ("verdicts", "The verdict for other targets and tokens", verdict_table(shapes[of_targets])),
            ("other-verdicts", "The verdict by other measures", verdict_table(shapes[~of_targets])),
        ],
        ways_sentences=sentences_on(
            about_ways,
            [{**row, "lens": ""} for row in _rows(tables, "specification_curve") if row["place"] == 0],
        ),
        decomposition_sentences=sentences_on(
            about_decomposition,
            [row for row in _rows(tables, "depth_decomposition") if row["measure"] == "refinement_depth"],
        ),
        order_sentences=sentences_on(
            about_orders, [row for row in _rows(tables, "order_variance") if row["measure"] in ORDER_MEASURES]
        ),
        layer_sentences=sentences_on(about_layers, findings["busiest_layers"]),
        cause_sentences=sentences_on(
            lambda row: about_cause(row, findings["settings"]), _causes_on_page(_rows(tables, "lens_against_cause"))
        ),
        divergence_sentences=about_lenses(
            pd.read_parquet(tables / "lens_divergence.parquet"), _rows(tables, "lens_overlap")
        ),
        coverage_sentences=about_coverage(coverage)
        + white_space_sentences(_rows(tables, "token_classes"), findings["settings"]),
        charts={name: {**chart._asdict(), "pooled": _pooled(specs.get(name))} for name, chart in CHARTS.items()},
        chart_specs=script_json(within_budget(specs)),
        max_rows=MAX_ROWS,
        explorer=_explorer(pd.read_parquet(tables / f"{EXAMPLES}.parquet")),
        essential=essential_table(essential),
        ablation=ablation(essential),
        coverage=coverage,
        settings=findings["settings"],
        times=times,
        times_sentence=in_words(times),
        dark_config=script_json(DARK),
        style=_own_file("page.css"),
        script=_own_file("page.js"),
        vega=vega_script(),
        **provenance,
    )


@functools.cache
def vega_script() -> Markup:
    """Return Vega, Vega-Lite and Vega-Embed as one script, in which nothing can end the script element."""
    script = vl_convert.javascript_bundle(_EXPOSE_VEGA_EMBED, vl_version=VEGA_LITE)
    return Markup(script.replace("</script", r"<\/script"))


def _own_file(name: str) -> Markup:
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


def _rows(tables: Path, name: str) -> list[dict[str, Any]]:
    return records(pd.read_parquet(tables / f"{name}.parquet"))


def _causes_on_page(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["cause"] == STATED_CAUSE and row["observation"] in STATED_OBSERVATIONS]


def _chart_specs(charts: Path) -> dict[str, dict[str, Any]]:
    """Return the packed specs of all charts but the explorer's, each described by its heading for screen readers."""
    return {
        name: {
            **packed_spec(json.loads((charts / f"{name}.json").read_text(encoding="utf-8"))),
            "description": chart.heading,
        }
        for name, chart in CHARTS.items()
        if chart.table != EXAMPLES
    }


def _pooled(spec: Mapping[str, Any] | None) -> str:
    """Return the sentence on what a chart pools whatever is chosen; nothing if it has every filter or is empty."""
    params = {param["name"] for param in (spec or {}).get("params", ())}
    if spec is None or not params:
        return ""
    drawn = json.dumps({key: value for key, value in spec.items() if key not in ("datasets", "params")})
    # In the chart that has the brush, positions are chosen and not filtered.
    filtered = {name for name in _POOLED if name in drawn} | ({"shown_positions"} if "brush" in params else set())
    pooled = [words for name, words in _POOLED.items() if name not in filtered]
    return f"Over all {listed(pooled)}, whatever is chosen." if pooled else ""


def _explorer(examples: pd.DataFrame) -> dict[str, Any]:
    """Return the explorer's data as a script, and what the template asks about them."""
    data = explorer_data(examples)
    specs = {colour: {**lens_grid(examples, colour).to_dict(), "datasets": {}} for colour in get_args(Colour)}
    return {
        "data": script_json({**data, "kinds": _KINDS, "specs": specs}),
        "count": len(data["contexts"]),
        "left_out": data["left_out"],
        "lenses": sorted({lens for context in data["contexts"] for lens in context["lenses"]}),
    }
