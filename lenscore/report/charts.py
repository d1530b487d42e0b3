"""The charts: each a function from a table of ``lenscore.analysis`` to an Altair chart.

Usable in a notebook::

    charts.refinement_curve(pandas.read_parquet("results/default/tables/refinement_curve.parquet"))
"""

from collections.abc import Callable

import altair as alt
import pandas as pd
from altair.typing import ChartType

from lenscore.report import theme  # registers the theme  # noqa: F401

_WIDTH = 560
_MEASURES = {
    "refinement_depth": "refinement depth (layers)",
    "prediction_depth": "prediction depth (layers)",
    "first_correct_layer": "first-correct layer",
    "settled_layer": "settled layer",
}
_ACCURACIES = {
    "first_token": "first answer tokens right",
    "answer_tokens": "all answer tokens right",
    "whole_answer": "whole answers right",
}
_EVENTS = {"first_correct": "first right", "settled": "settled"}
_ESSENTIAL = {
    "share_first_right": "share first right here",
    "share_settled": "share settled here",
    "mean_rise": "mean rise of log p (nats)",
}
_POSITION = alt.X(
    "relative_position:Q",
    title="relative position of gold document",
    scale=alt.Scale(domain=[0, 1], padding=8),
    axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".2~f"),
)


def refinement_curve(table: pd.DataFrame) -> ChartType:
    """Return the headline chart: mean depths against the gold document's relative position, with intervals.

    Args:
        table: of :func:`lenscore.analysis.curves.refinement_curve`.
    """
    placed = table.dropna(subset=["relative_position", "mean"])
    if placed.empty:
        return _nothing("No answer token is right at the last layer, or no context has two documents or more.")
    placed = _with_documents(_with_curve_names(placed))
    curves = sorted(placed["curve"].unique())
    main = [
        _curve(placed, curve, "refinement_depth", _MEASURES, width=max(260, 600 // len(curves)), height=280)
        for curve in curves
    ]
    companions = [
        alt.hconcat(*[
            _curve(placed, curve, measure, _MEASURES, width=160, height=130)
            for measure in _MEASURES
            if measure != "refinement_depth"
        ])
        for curve in curves
    ]  # fmt: skip
    return _stacked(alt.hconcat(*main).resolve_scale(y="shared"), *companions)


def accuracy_curve(table: pd.DataFrame) -> ChartType:
    """Return accuracy at the last layer against the gold document's position, controls as level lines.

    Args:
        table: of :func:`lenscore.analysis.curves.accuracy_curve`.
    """
    if table.empty:
        return _nothing("No context was extracted.")
    named = _with_documents(_with_curve_names(table))
    placed = named[(named["condition"] == "documents") & named["relative_position"].notna()]
    controls = named[named["condition"] != "documents"].assign(
        control=lambda rows: rows["condition"].map({"closed_book": "closed book", "oracle": "oracle"})
    )
    rows = []
    for curve in sorted(named["curve"].unique()):
        panels = []
        for measure, title in _ACCURACIES.items():
            part = placed[(placed["measure"] == measure) & (placed["curve"] == curve)]
            layers = [] if part.empty else _line_layers(part, title, percent=True)
            level = controls[(controls["measure"] == measure) & (controls["curve"] == curve)]
            if not level.empty:
                rule = alt.Chart(level).mark_rule(strokeDash=[5, 4], color="#777777").encode(y="mean:Q")
                text = (
                    alt.Chart(level)
                    .mark_text(align="right", dy=-6, color="#555555", fontSize=10)
                    .encode(text="control:N", y="mean:Q", x=alt.value(180), tooltip=_tooltips(level, title))
                )
                layers += [rule, text]
            panels.append(alt.layer(*layers).properties(width=180, height=200, title=_title(named, curve)))
        rows.append(alt.hconcat(*panels))
    return _stacked(*rows)


def layers_reached(table: pd.DataFrame) -> ChartType:
    """Return the distributions of the first-correct and settled layers.

    Args:
        table: of :func:`lenscore.analysis.layers.layers_reached`.
    """
    if table.empty:
        return _nothing("No answer token is right at the last layer.")
    named = _with_documents(_with_curve_names(table)).assign(event=lambda rows: rows["event"].map(_EVENTS))
    base = alt.Chart(named).encode(
        x=alt.X("layer:O", title="layer (0: embedding output)", axis=alt.Axis(labelOverlap=True, labelAngle=0)),
        y=alt.Y("share:Q", title="share of answer tokens", axis=alt.Axis(format="%"), stack=None),
        color=alt.Color("event:N", title=None, sort=list(_EVENTS.values()), legend=alt.Legend(orient="top")),
        tooltip=["curve", "documents", "event", "layer", alt.Tooltip("n", title="answer tokens"),
                 alt.Tooltip("share", format=".1%")],
    )  # fmt: skip
    bars = base.mark_bar(opacity=0.75).encode(xOffset=alt.XOffset("event:N", sort=list(_EVENTS.values())))
    chart: alt.FacetChart = bars.properties(width=_WIDTH, height=150).facet(
        column=alt.Column("curve:N", title=None, header=_header(named)),
        row=alt.Row("documents:N", title=None, sort=_document_order(named)),
    )
    return chart


def essential_layers(table: pd.DataFrame) -> ChartType:
    """Return what each layer does, as observed, by region of the gold document's position.

    Args:
        table: of :func:`lenscore.analysis.layers.essential_layers`.
    """
    if table.empty:
        return _nothing("No answer token is right at the last layer.")
    named = _with_curve_names(table)
    regions = [region for region in dict.fromkeys(named["region"]) if region != "all"]
    rows = []
    for measure, title in _ESSENTIAL.items():
        panels = []
        for curve in sorted(named["curve"].unique()):
            part = named[named["curve"] == curve]
            layers = alt.Scale(domain=list(range(int(part["layer"].max()) + 1)))
            x = alt.X("layer:O", title="layer", axis=alt.Axis(labelOverlap=True, labelAngle=0), scale=layers)
            # Layer 0 is decoded as the token just read, surely and wrongly: the rise at layer 1 dwarfs the others.
            scale = alt.Scale(type="symlog") if measure == "mean_rise" else alt.Undefined
            axis = alt.Axis(format=".2~f" if measure == "mean_rise" else "%", tickCount=5)
            y = alt.Y(f"{measure}:Q", title=title, axis=axis, scale=scale)
            shown = [
                "region",
                "layer",
                alt.Tooltip(measure, format=".3f"),
                alt.Tooltip("n_right", title="answer tokens"),
            ]
            bars = alt.Chart(part[part["region"] == "all"]).mark_bar(color="#c8c8c8").encode(x=x, y=y, tooltip=shown)
            points = (
                alt.Chart(part[part["region"] != "all"])
                .mark_point(filled=True, size=28)
                .encode(
                    x=x,
                    y=y,
                    color=alt.Color(
                        "region:N", title="gold document at", sort=regions, legend=alt.Legend(orient="top")
                    ),
                    tooltip=shown,
                )
            )
            panels.append(alt.layer(bars, points).properties(width=_WIDTH, height=130, title=_title(named, curve)))
        rows.append(alt.hconcat(*panels))
    return _stacked(*rows)


CHARTS: dict[str, Callable[[pd.DataFrame], ChartType]] = {
    "refinement_curve": refinement_curve,
    "accuracy_curve": accuracy_curve,
    "layers_reached": layers_reached,
    "essential_layers": essential_layers,
}


def _stacked(*rows: ChartType) -> ChartType:
    """Return the rows under one another, with one legend of colours."""
    stacked: alt.VConcatChart = alt.vconcat(*rows).resolve_scale(color="shared")
    return stacked


def _curve(
    table: pd.DataFrame, curve: str, measure: str, titles: dict[str, str], *, width: int, height: int
) -> ChartType:
    """Return one panel: one measure of one curve name."""
    part = table[(table["curve"] == curve) & (table["measure"] == measure)]
    return alt.layer(*_line_layers(part, titles[measure])).properties(
        width=width, height=height, title=_title(table, curve)
    )


def _title(table: pd.DataFrame, curve: str) -> alt.TitleParams:
    """Name a panel by its curve, unless there is but one."""
    return alt.TitleParams(curve if table["curve"].nunique() > 1 else "", frame="group")


def _line_layers(table: pd.DataFrame, title: str, *, percent: bool = False) -> list[alt.Chart]:
    """Return band, line and points of means against position, a colour a number of documents."""
    base = alt.Chart(table).encode(
        x=_POSITION,
        color=alt.Color(
            "documents:N",
            title=None,
            sort=_document_order(table),
            legend=alt.Legend(orient="top", symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1),
        ),
    )
    axis = alt.Axis(format="%" if percent else ".2~f", tickCount=5)
    mean = alt.Y("mean:Q", title=title, scale=alt.Scale(zero=False, nice=True), axis=axis)
    band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title=title, axis=axis), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=mean)
    points = base.mark_point(filled=True, size=45, opacity=1).encode(y=mean, tooltip=_tooltips(table, title))
    return [band, line, points]


def _header(table: pd.DataFrame) -> alt.Header:
    """Name a facet's columns by their curves, unless there is but one."""
    return alt.Header(labels=table["curve"].nunique() > 1)


def _tooltips(table: pd.DataFrame, title: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("curve:N", title="curve"),
        alt.Tooltip("documents:N", title="context"),
        alt.Tooltip("gold_index:Q", title="gold index"),
        alt.Tooltip("relative_position:Q", title="relative position", format=".2f"),
        alt.Tooltip("mean:Q", title=title, format=".3f"),
        alt.Tooltip("low:Q", title="interval from", format=".3f"),
        alt.Tooltip("high:Q", title="to", format=".3f"),
        alt.Tooltip("n_tokens:Q", title="n"),
        alt.Tooltip("n_questions:Q", title="questions"),
    ]


def _with_curve_names(table: pd.DataFrame) -> pd.DataFrame:
    """Name each panel by the model, and by context set and lens only where there are several."""
    parts = ["model"] + [column for column in ("context_set", "lens") if table[column].nunique() > 1]
    return table.assign(curve=table[parts].agg(", ".join, axis=1))


def _with_documents(table: pd.DataFrame) -> pd.DataFrame:
    counts = table["n_documents"].astype(int)
    return table.assign(documents=counts.map(lambda n: f"{n} document{'s' * (n != 1)}"))


def _document_order(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(table.sort_values("n_documents")["documents"]))


def _nothing(words: str) -> ChartType:
    """Return a chart that says why there is nothing to draw."""
    chart: alt.Chart = (
        alt.Chart(pd.DataFrame({"words": [words]}))
        .mark_text(fontSize=13, color="#555555")
        .encode(text="words:N")
        .properties(width=560, height=60)
    )
    return chart
