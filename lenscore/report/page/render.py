"""The page: one HTML file that opens from disk with no network."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import duckdb
import jinja2
import pandas as pd
import vl_convert
from altair.utils._importers import vl_version_for_vl_convert
from markupsafe import Markup

from lenscore.analysis.shape.study_shapes import headline_of
from lenscore.report.charts.grid import Colour, lens_grid
from lenscore.report.charts.theme import DARK
from lenscore.report.contents import CHARTS, EXAMPLES
from lenscore.report.page.explorer import explorer_data
from lenscore.report.page.packed import MOST_ROWS, packed, script_json, within_budget
from lenscore.report.page.sentences import (
    Finding,
    about_cause,
    about_coverage,
    about_disagreement,
    about_layers,
    about_orders,
    about_shape,
    about_verdicts,
    curve_name,
    listed,
    no_curve,
)
from lenscore.report.page.tables import ablation, essential_table, records, verdict_table
from lenscore.report.run_times import RuleTimes, in_words

_TEMPLATES = Path(__file__).parent / "templates"
_SNIPPET = "window.vegaEmbed = vegaEmbed;"
_SOFTWARE = ("altair", "pandas", "numpy")
# Filters, and what a chart without one joins.
_JOINED = {"shown_documents": "numbers of documents", "shown_positions": "positions"}
# Of the contexts of a cell; those that an earlier kind has taken are left out.
_KINDS = {
    "typical": "typical: its mean refinement depth is near the median of its place and number of documents",
    "deepest": "deepest: its mean refinement depth is among the greatest of its place and number of documents",
    "lost": "lost: an answer token that is right at many layers is wrong at the last one",
    "flipped": "flipped: an answer token that ends right is lost and won back on the way, more often than in others",
}


def render_page(
    database: Path, findings: Path, tables: Path, charts: Path, title: str | None, times: Sequence[RuleTimes] = ()
) -> str:
    """Return the page of a study.

    Args:
        database: the study's DuckDB file.
        findings: findings.json of the analysis.
        tables: the folder of the tables.
        charts: the folder of the charts' Vega-Lite files.
        title: the heading; None makes one of the study's name.
        times: what each rule's jobs took.
    """
    with duckdb.connect(str(database), read_only=True) as connection:
        facts = {key: json.loads(value) for key, value in connection.sql("select key, value from study").fetchall()}
        models = connection.sql("select * exclude (manifest), manifest from models order by model").df()
        extractions = connection.sql("select * from extractions order by all").df()
        counts = connection.sql(
            """select
                (select count(*) from questions) as questions,
                (select count(*) from contexts) as contexts,
                (select count(*) from answer_tokens) as answer_tokens,
                (select count(*) from layer_records) as layer_records"""
        ).df()
    found = json.loads(findings.read_text(encoding="utf-8"))
    coverage = records(pd.read_parquet(tables / "coverage.parquet"))
    shapes = pd.read_parquet(tables / "shapes.parquet")
    curves = records(headline_of(shapes))
    essential = pd.read_parquet(tables / "essential_layers.parquet")
    specs = _chart_specs(charts)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template("page.html.j2").render(
        title=title or f"Where in its depth: {facts['study']}",
        study=facts["study"],
        summary=_summary(facts["config"], counts.iloc[0].to_dict()),
        filters=_filters(facts["config"]),
        verdict_sentences=_verdict_sentences(curves),
        curve_sentences=_said(lambda curve: about_shape(curve, found["settings"]), curves)
        + _said(about_disagreement, found["disagreements"]),
        shapes=[{**row, "curve": curve_name(row)} for row in curves],
        verdicts=verdict_table(shapes),
        order_sentences=_said(about_orders, records(pd.read_parquet(tables / "order_variance.parquet"))),
        layer_sentences=_said(about_layers, found["busiest_layers"]),
        cause_sentences=_cause_sentences(pd.read_parquet(tables / "lens_against_cause.parquet")),
        coverage_sentences=about_coverage(coverage),
        charts={
            name: {**chart._asdict(), "unfiltered": _unfiltered(specs.get(name))} for name, chart in CHARTS.items()
        },
        chart_specs=script_json(within_budget(specs)),
        most_rows=MOST_ROWS,
        explorer=_explorer(pd.read_parquet(tables / f"{EXAMPLES}.parquet")),
        essential=essential_table(essential),
        ablation=ablation(essential),
        coverage=coverage,
        counts=counts.iloc[0].to_dict(),
        models=[_model(row) for row in models.to_dict("records")],
        extractions=_extractions(extractions),
        dataset=facts["dataset"],
        config=json.dumps(facts["config"], indent=2, ensure_ascii=False),
        extraction_code=facts["extraction_code"],
        software={**facts["versions"], **{name: version(name) for name in _SOFTWARE}},
        settings=found["settings"],
        times=times,
        times_sentence=in_words(times),
        dark_config=script_json(DARK),
        style=_own_file("page.css"),
        script=_own_file("page.js"),
        vega=_vega(),
    )


def _own_file(name: str) -> Markup:
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


def _chart_specs(charts: Path) -> dict[str, dict[str, Any]]:
    """Return the charts' specs, named by their headings for those who hear the page."""
    return {
        name: {
            **packed(json.loads((charts / f"{name}.json").read_text(encoding="utf-8"))),
            "description": chart.heading,
        }
        for name, chart in CHARTS.items()
        if chart.table != EXAMPLES
    }


def _unfiltered(spec: Mapping[str, Any] | None) -> str:
    """Return in words what a chart joins whatever is chosen; nothing for one that takes every filter or is empty."""
    params = {param["name"] for param in (spec or {}).get("params", ())}
    if spec is None or not params:
        return ""
    drawn = json.dumps({key: value for key, value in spec.items() if key not in ("datasets", "params")})
    # In the chart that has the brush, positions are chosen and not filtered.
    taken = {name for name in _JOINED if name in drawn} | ({"shown_positions"} if "brush" in params else set())
    joined = [words for name, words in _JOINED.items() if name not in taken]
    return f"Over all {listed(joined)}, whatever is chosen." if joined else ""


def _explorer(examples: pd.DataFrame) -> dict[str, Any]:
    """Return what the explorer shows: its data as a script, and what the template asks about them."""
    data = explorer_data(examples)
    specs = {colour: {**lens_grid(examples, colour).to_dict(), "datasets": {}} for colour in get_args(Colour)}
    return {
        "data": script_json({**data, "kinds": _KINDS, "specs": specs}),
        "count": len(data["contexts"]),
        "left_out": data["left_out"],
        "lenses": sorted({lens for context in data["contexts"] for lens in context["lenses"]}),
    }


def _filters(config: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return what the page lets its reader choose among."""
    lengths = {n for spec in config["context_sets"].values() for n in spec["documents"]}
    return {"models": sorted(config["models"]), "lenses": list(config["lenses"]), "documents": sorted(lengths)}


def _vega() -> Markup:
    """Return Vega, Vega-Lite and Vega-Embed as one script, in which nothing can end the script element."""
    script = vl_convert.javascript_bundle(_SNIPPET, vl_version=vl_version_for_vl_convert())
    return Markup(script.replace("</script", r"<\/script"))


def _summary(config: Mapping[str, Any], counts: Mapping[str, int]) -> str:
    """Return the study in one sentence."""
    several = len(config["context_sets"]) > 1
    sets = [
        (f"in set {name}, " if several else "") + _contexts_in_words(spec)
        for name, spec in config["context_sets"].items()
    ]
    kind, _, place = config["dataset"]["source"].partition(":")
    dataset = "the project's own set" if kind == "embedded" else place.rpartition("/")[2]
    return (
        f"{listed(list(config['models']))} on {counts['questions']} questions of {dataset}, read through the "
        f"{' and '.join(config['lenses'])} lens, with {'; '.join(sets)}."
    )


def _contexts_in_words(spec: Mapping[str, Any]) -> str:
    controls = (
        f"the controls {listed([name.replace('_', ' ') for name in spec['controls']])}" if spec["controls"] else ""
    )
    if not spec["documents"]:
        return controls
    positions = spec["positions"]
    places = "every position" if positions == "all" else (
        f"{positions} positions" if isinstance(positions, int) else f"gold indices {listed(list(map(str, positions)))}"
    )  # fmt: skip
    among = listed(list(map(str, spec["documents"])), "or")
    contexts = f"the gold document at {places} among {among}, in the prompt {spec['prompt']}"
    return f"{contexts}, and {controls}" if controls else contexts


def _verdict_sentences(curves: Sequence[Finding]) -> list[dict[str, Any]]:
    grouped: dict[tuple[str, ...], list[Finding]] = {}
    for curve in curves:
        grouped.setdefault((curve["model"], curve["context_set"], curve["lens"]), []).append(curve)
    said = [{"words": about_verdicts(rows), "model": name[0], "lens": name[2]} for name, rows in grouped.items()]
    return said or [{"words": no_curve(), "model": "", "lens": ""}]


def _said(sentence: Callable[[Finding], str], findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return a sentence a finding, with what the page's filters go by: model, lens, number of documents."""
    keys = ("model", "lens", "n_documents")
    return [{"words": sentence(row), **{key: row.get(key, "") for key in keys}} for row in findings]


def _cause_sentences(table: pd.DataFrame) -> list[dict[str, Any]]:
    asked = table[(table["cause"] == "logprob_drop") & table["observation"].isin(["mean_rise", "share_settled"])]
    return _said(about_cause, records(asked))


def _model(row: Mapping[Any, Any]) -> dict[str, Any]:
    window = None if pd.isna(row["attention_window"]) else int(row["attention_window"])
    return {**row, "attention_window": window, "manifest": json.loads(row["manifest"])}


def _extractions(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the extraction jobs, those alike as one: a large study has thousands."""
    alike = ["model", "context_set", "device", "prefix_sharing", "versions"]
    grouped = rows.groupby(alike, as_index=False).agg(
        shards=("shard", "count"), difference=("self_check_difference", "max")
    )
    return [{**row, "versions": json.loads(row["versions"])} for row in records(grouped)]
