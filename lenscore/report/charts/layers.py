"""Charts of what happens at each layer."""

from typing import Any

import altair as alt
import pandas as pd
from altair.typing import ChartType

from lenscore.report.charts.parts import (
    document_order,
    header_of,
    nothing,
    stacked,
    title_of,
    with_curve_names,
    with_documents,
)

_WIDTH = 560
_LENSES = {"logit_kl": "logit lens", "tuned_kl": "tuned lens"}
_FLIPS = {"n_lost": "lost", "n_regained": "won back"}
_EVENTS = {"first_correct": "first right", "settled": "settled"}
_ESSENTIAL = {
    "share_first_right": "share first right here",
    "share_settled": "share settled here",
    "mean_rise": "mean rise of log p (nats)",
}
_CAUSE = "logprob_drop"
_ABLATED = {"skip": "the block is skipped", "mean": "the block adds its mean"}


def layers_reached(table: pd.DataFrame) -> ChartType:
    """Return the distributions of the first-correct and settled layers.

    Args:
        table: of :func:`lenscore.analysis.layers.layers_reached`.
    """
    if table.empty:
        return nothing("No answer token is right at the last layer.")
    named = with_documents(with_curve_names(table)).assign(event=lambda rows: rows["event"].map(_EVENTS))
    base = alt.Chart(named).encode(
        x=alt.X("layer:O", title="layer (0: embedding output)", axis=alt.Axis(labelOverlap=True, labelAngle=0)),
        y=alt.Y("share:Q", title="share of answer tokens", axis=alt.Axis(format="%"), stack=None),
        color=alt.Color("event:N", title=None, sort=list(_EVENTS.values()), legend=alt.Legend(orient="top")),
        tooltip=["curve", "documents", "event", "layer", alt.Tooltip("n", title="answer tokens"),
                 alt.Tooltip("share", format=".1%")],
    )  # fmt: skip
    bars = base.mark_bar(opacity=0.75).encode(xOffset=alt.XOffset("event:N", sort=list(_EVENTS.values())))
    chart: alt.FacetChart = bars.properties(width=_WIDTH, height=150).facet(
        column=alt.Column("curve:N", title=None, header=header_of(named)),
        row=alt.Row("documents:N", title=None, sort=document_order(named)),
    )
    return chart


def flips(table: pd.DataFrame) -> ChartType:
    """Return between which layers right answer tokens are lost, and won back.

    Args:
        table: of :func:`lenscore.analysis.groups.flips_by_layer`.
    """
    if table.empty or table["n_lost"].sum() == 0:
        return nothing("No answer token that was right at a layer was lost at a later one.")
    named = with_curve_names(table)
    long = named.melt(
        id_vars=["curve", "layer", "n_tokens", "n_right_before", "n_lost_before"],
        value_vars=list(_FLIPS), var_name="event", value_name="n",
    )  # fmt: skip
    long = long.assign(share=long["n"] / long["n_tokens"], event=long["event"].map(_FLIPS))
    panels = [
        alt.Chart(long[long["curve"] == curve])
        .mark_bar(opacity=0.85)
        .encode(
            x=alt.X("layer:O", title="layer at which it changes", axis=alt.Axis(labelOverlap=True, labelAngle=0)),
            xOffset=alt.XOffset("event:N", sort=list(_FLIPS.values())),
            y=alt.Y("share:Q", title="share of answer tokens", axis=alt.Axis(format=".1~%", tickCount=5)),
            color=alt.Color("event:N", title=None, sort=list(_FLIPS.values()), legend=alt.Legend(orient="top")),
            tooltip=["curve", "layer", "event", alt.Tooltip("n", title="answer tokens"),
                     alt.Tooltip("n_right_before", title="right at the layer before"),
                     alt.Tooltip("n_lost_before", title="lost before")],
        )
        .properties(width=_WIDTH, height=130, title=title_of(named, curve))
        for curve in sorted(named["curve"].unique())
    ]  # fmt: skip
    return stacked(*panels)


def lens_divergence(table: pd.DataFrame) -> ChartType:
    """Return KL(model ‖ lens) of each layer, for the logit and the tuned lens.

    Args:
        table: of the database's ``lens_divergences``.
    """
    if table.empty:
        return nothing("The study has no tuned lens: add tuned to lenses.")
    long = table.melt(
        id_vars=["model", "layer", "n_tokens"], value_vars=list(_LENSES), var_name="lens", value_name="kl"
    )
    long = long.assign(lens=long["lens"].map(_LENSES))
    chart: alt.FacetChart = (
        alt.Chart(long)
        .mark_line(point=True)
        .encode(
            x=alt.X("layer:Q", title="layer", axis=alt.Axis(tickMinStep=1)),
            # Layer 0's divergence under the logit lens dwarfs all others.
            y=alt.Y("kl:Q", title="KL from the model (nats)", scale=alt.Scale(type="symlog")),
            color=alt.Color("lens:N", title=None, sort=list(_LENSES.values()), legend=alt.Legend(orient="top")),
            tooltip=[
                "model",
                "lens",
                "layer",
                alt.Tooltip("kl", format=".3f"),
                alt.Tooltip("n_tokens", title="tokens"),
            ],
        )
        .properties(width=_WIDTH, height=180)
        .facet(column=alt.Column("model:N", title=None, header=alt.Header(labels=table["model"].nunique() > 1)))
    )
    return chart


def essential_layers(table: pd.DataFrame) -> ChartType:
    """Return what each layer does, as observed, by region of the gold document's position; last, its block's worth.

    Args:
        table: of :func:`lenscore.analysis.layers.with_causes`.
    """
    if table.empty:
        return nothing("No answer token is right at the last layer.")
    named = with_curve_names(table)
    regions = [region for region in dict.fromkeys(named["region"]) if region != "all"]
    rows = []
    measures: dict[str, str | list[str]] = {**_ESSENTIAL, **_cause(named)}
    for measure, title in measures.items():
        panels = []
        for curve in sorted(named["curve"].unique()):
            part = named[named["curve"] == curve]
            layers = alt.Scale(domain=list(range(int(part["layer"].max()) + 1)))
            x = alt.X("layer:O", title="layer", axis=alt.Axis(labelOverlap=True, labelAngle=0), scale=layers)
            # Layer 0 is decoded as the token just read, surely and wrongly: the rise at layer 1 dwarfs the others.
            # So does the cost of the first blocks.
            nats = measure in ("mean_rise", _CAUSE)
            scale = alt.Scale(type="symlog") if nats else alt.Undefined
            axis = alt.Axis(format=".2~f" if nats else "%", tickCount=5)
            y = alt.Y(f"{measure}:Q", title=title, axis=axis, scale=scale)
            shown = [
                "region",
                "layer",
                alt.Tooltip(measure, format=".3f"),
                *(_interval() if measure == _CAUSE else [alt.Tooltip("n_right", title="answer tokens")]),
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
            if measure == _CAUSE:
                bars = alt.layer(bars, _rules(part, x=x, title=title, axis=axis, scale=scale))
            panels.append(alt.layer(bars, points).properties(width=_WIDTH, height=130, title=title_of(named, curve)))
        rows.append(alt.hconcat(*panels))
    return stacked(*rows)


def _cause(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return the measure of what blocks are worth with its title, a line each, where something was ablated."""
    ablated = table.dropna(subset=_CAUSE) if _CAUSE in table else table.iloc[:0]
    if ablated.empty:
        return {}
    scope, replacement = ablated.iloc[0][["scope", "replacement"]]
    where = [] if scope == "all" else ["at the answer alone"]
    return {_CAUSE: ["drop of log p (nats) when", _ABLATED[replacement], *where]}


def _interval() -> list[alt.Tooltip]:
    return [
        alt.Tooltip(f"{_CAUSE}_{end}", title=title, format=".3f")
        for end, title in (("low", "interval from"), ("high", "to"))
    ]


def _rules(part: pd.DataFrame, **axes: Any) -> alt.Chart:
    """Return the intervals of all positions: those of the regions would hide one another."""
    rules: alt.Chart = (
        alt.Chart(part[part["region"] == "all"])
        .mark_rule(color="#555555")
        .encode(x=axes.pop("x"), y=alt.Y(f"{_CAUSE}_low:Q", **axes), y2=f"{_CAUSE}_high:Q")
    )
    return rules
