"""The page: one HTML file that opens from disk with no network."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import jinja2
import pandas as pd
import vl_convert
from altair.utils._importers import vl_version_for_vl_convert
from markupsafe import Markup

from lenscore.analysis.shapes import CURVE as SHAPE_CURVE
from lenscore.analysis.shapes import headline_of
from lenscore.report.contents import CHARTS
from lenscore.report.sentences import (
    WAYS,
    ablation_name,
    about_cause,
    about_coverage,
    about_disagreement,
    about_layers,
    about_orders,
    about_shape,
    curve_name,
    no_curve,
)

_HERE = Path(__file__).parent
_SNIPPET = "window.vegaEmbed = vegaEmbed;"
_SOFTWARE = ("altair", "pandas", "numpy")


def render_page(database: Path, findings: Path, tables: Path, charts: Path, title: str | None) -> str:
    """Return the page of a study.

    Args:
        database: the study's DuckDB file.
        findings: findings.json of the analysis.
        tables: the folder of the tables.
        charts: the folder of the charts' Vega-Lite files.
        title: the heading; None makes one of the study's name.
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
    rows = _records(pd.read_parquet(tables / "coverage.parquet"))
    shapes = pd.read_parquet(tables / "shapes.parquet")
    essential = pd.read_parquet(tables / "essential_layers.parquet")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template("page.html.j2").render(
        title=title or f"Where in its depth: {facts['study']}",
        study=facts["study"],
        summary=_summary(facts["config"], counts.iloc[0].to_dict()),
        curve_sentences=_curve_sentences(shapes, found),
        shapes=[{**row, "curve": curve_name(row)} for row in _records(headline_of(shapes))],
        verdicts=_verdicts(shapes),
        order_sentences=[about_orders(row) for row in _records(pd.read_parquet(tables / "order_variance.parquet"))],
        layer_sentences=[about_layers(finding) for finding in found["busiest_layers"]],
        cause_sentences=_cause_sentences(pd.read_parquet(tables / "lens_against_cause.parquet")),
        coverage_sentences=about_coverage(rows),
        charts=[
            {"name": name, **chart._asdict(), "spec": _script_json(charts / f"{name}.json")}
            for name, chart in CHARTS.items()
        ],
        essential=_essential(essential),
        ablation=_ablation(essential),
        coverage=rows,
        counts=counts.iloc[0].to_dict(),
        models=[_model(row) for row in models.to_dict("records")],
        extractions=[_extraction(row) for row in extractions.to_dict("records")],
        dataset=facts["dataset"],
        config=json.dumps(facts["config"], indent=2, ensure_ascii=False),
        extraction_code=facts["extraction_code"],
        software={**facts["versions"], **{name: version(name) for name in _SOFTWARE}},
        settings=found["settings"],
        vega=_vega(),
    )


def _vega() -> Markup:
    """Return Vega, Vega-Lite and Vega-Embed as one script, in which nothing can end the script element."""
    script = vl_convert.javascript_bundle(_SNIPPET, vl_version=vl_version_for_vl_convert())
    return Markup(script.replace("</script", r"<\/script"))


def _summary(config: Mapping[str, Any], counts: Mapping[str, int]) -> str:
    sets = []
    for name, spec in config["context_sets"].items():
        lengths = ", ".join(map(str, spec["documents"])) or "no"
        positions = spec["positions"]
        places = "every position" if positions == "all" else (
            f"{positions} positions" if isinstance(positions, int) else f"gold indices {positions}"
        )  # fmt: skip
        controls = f", and {' and '.join(spec['controls']).replace('_', ' ')}" if spec["controls"] else ""
        sets.append(f"{name}: {lengths} documents, the gold one at {places}, prompt {spec['prompt']}{controls}")
    kind, _, place = config["dataset"]["source"].partition(":")
    dataset = "the project's own set" if kind == "embedded" else place.rpartition("/")[2]
    return (
        f"{', '.join(config['models'])} on {counts['questions']} questions of {dataset}, "
        f"through the {' and '.join(config['lenses'])} lens. {'; '.join(sets)}."
    )


def _curve_sentences(shapes: pd.DataFrame, found: Mapping[str, Any]) -> list[str]:
    curves = _records(headline_of(shapes))
    if not curves:
        return [no_curve()]
    return [about_shape(curve, found["settings"]) for curve in curves] + [
        about_disagreement(finding) for finding in found["disagreements"]
    ]


def _cause_sentences(table: pd.DataFrame) -> list[str]:
    asked = table[(table["cause"] == "logprob_drop") & table["observation"].isin(["mean_rise", "share_settled"])]
    return [about_cause(row) for row in _records(asked)]


def _verdicts(shapes: pd.DataFrame) -> dict[str, Any]:
    """Return the verdicts as a table: a row a curve, a column a way of asking."""
    ways = list(dict.fromkeys(zip(shapes["measure"], shapes["tokens"], shapes["population"], strict=True)))
    rows = []
    for names, group in shapes.groupby(SHAPE_CURVE):
        said = {(row.measure, row.tokens, row.population): row.verdict for row in group.itertuples()}
        rows.append(
            {"curve": curve_name(dict(zip(SHAPE_CURVE, names, strict=True))), "said": [said.get(way) for way in ways]}
        )
    return {"ways": [[WAYS[part] for part in way] for way in ways], "rows": rows}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows, with None where a value is missing."""
    return [
        {str(key): None if pd.api.types.is_scalar(value) and pd.isna(value) else value for key, value in row.items()}
        for row in table.to_dict("records")
    ]


def _script_json(path: Path) -> Markup:
    """Return JSON that may stand in a script element, whatever text it holds."""
    spec = json.dumps(json.loads(path.read_text(encoding="utf-8")), separators=(",", ":"))
    return Markup(spec.replace("<", "\\u003c"))


def _essential(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the essential-layer table's rows of all positions, with each bar's length as a share of the longest."""
    rows: list[dict[str, Any]] = []
    for names, group in table[table["region"] == "all"].groupby(["model", "context_set", "lens"]):
        longest = group[["share_first_right", "share_settled", "mean_rise", "accuracy_drop", "logprob_drop"]].max()
        for row in _records(group):
            bars = {
                measure: max(0.0, row[measure] / longest[measure])
                if longest[measure] > 0 and row[measure] is not None
                else 0.0
                for measure in longest.index
            }
            rows.append({**row, "curve": ", ".join(map(str, names)), "bars": bars})
    return rows


def _ablation(essential: pd.DataFrame) -> str | None:
    """Return what was done to the blocks in the essential-layer table, in words; None if nothing was."""
    ablated = essential.dropna(subset="logprob_drop")
    return None if ablated.empty else ablation_name(ablated.iloc[0].to_dict())


def _model(row: Mapping[Any, Any]) -> dict[str, Any]:
    window = None if pd.isna(row["attention_window"]) else int(row["attention_window"])
    return {**row, "attention_window": window, "manifest": json.loads(row["manifest"])}


def _extraction(row: Mapping[Any, Any]) -> dict[str, Any]:
    difference = None if pd.isna(row["self_check_difference"]) else row["self_check_difference"]
    return {**row, "self_check_difference": difference, "versions": json.loads(row["versions"])}
