"""Charts of what happens at each layer."""

import altair as alt
import pandas as pd
from altair.typing import ChartType

from lenscore.report.charts.parts import (
    a_panel_a_curve,
    a_panel_each,
    a_row_a_curve,
    beside,
    documents_colour,
    nothing,
    shown,
    stacked,
    with_curve_names,
    with_documents,
    with_filters,
)
from lenscore.report.theme import QUIET, REFERENCE

_WIDTH = 560
_NONE_RIGHT = "No answer token is right at the last layer."
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
_PLACE = ("model", "lens", "n_documents", "curve", "documents", "relative_position")


def layers_reached(table: pd.DataFrame) -> ChartType:
    """Return the distributions of the first-correct and settled layers, over the positions that are shown.

    Args:
        table: of :func:`lenscore.analysis.layers.layers_reached`.
    """
    if table.empty:
        return nothing(_NONE_RIGHT)
    named = with_documents(with_curve_names(table))
    columns = []
    for event, title in _EVENTS.items():
        part = shown(named[named["event"] == event], *_PLACE, "layer", "n")
        of_documents: list[str | alt.FieldName] = ["curve", "documents"]
        lines = (
            alt.Chart()
            .transform_aggregate(n="sum(n)", groupby=[*of_documents, "layer"])
            .transform_joinaggregate(total="sum(n)", groupby=of_documents)
            .transform_calculate(share="datum.total ? datum.n / datum.total : null")
            .mark_line(strokeWidth=1.8, point=alt.OverlayMarkDef(size=22, filled=True))
            .encode(
                x=alt.X("layer:Q", title=f"layer at which tokens are {title}", axis=alt.Axis(tickMinStep=1)),
                y=alt.Y("share:Q", title="share of answer tokens", axis=alt.Axis(format="%", tickCount=5)),
                color=documents_colour(named),
                tooltip=["curve:N", alt.Tooltip("documents:N", title="context"), "layer:Q",
                         alt.Tooltip("n:Q", title="answer tokens"), alt.Tooltip("total:Q", title="of"),
                         alt.Tooltip("share:Q", format=".1%")],
            )
            .properties(width=285, height=180)
        )  # fmt: skip
        columns.append(a_row_a_curve(lines, part))
    return with_filters(beside(*columns).resolve_scale(color="shared", y="shared"))


def right_by_layer(table: pd.DataFrame) -> ChartType:
    """Return the heat map of layer × position: how often the lens's top choice is the answer token.

    Args:
        table: of view ``layer_accuracy``.
    """
    placed = table.dropna(subset=["relative_position"])
    if placed.empty:
        return nothing("No context has two documents or more.")
    named = with_documents(with_curve_names(placed))
    part = shown(named, *_PLACE, "gold_index", "layer", "share_right", "mean_probability", "n_tokens")
    cells = (
        alt.Chart()
        .mark_rect()
        .encode(
            x=alt.X("relative_position:O", title="relative position",
                    axis=alt.Axis(labelAngle=0, labelOverlap=True, format=".2~f")),
            y=alt.Y("layer:O", title="layer", sort="descending", axis=alt.Axis(labelOverlap=True)),
            color=alt.Color("share_right:Q", title="answer tokens right",
                            scale=alt.Scale(scheme="viridis", domainMin=0),
                            legend=alt.Legend(orient="top", format="%", gradientLength=200)),
            tooltip=["curve:N", alt.Tooltip("documents:N", title="context"),
                     alt.Tooltip("gold_index:Q", title="gold index"), "layer:O",
                     alt.Tooltip("share_right:Q", title="right", format=".1%"),
                     alt.Tooltip("mean_probability:Q", title="mean p of the answer token", format=".3f"),
                     alt.Tooltip("n_tokens:Q", title="answer tokens")],
        )
        .properties(width=170, height=alt.Step(10))
    )  # fmt: skip
    panels = a_panel_each(cells, part.sort_values("n_documents", kind="stable"), by="documents", columns=4)
    return with_filters(panels.resolve_scale(x="independent"))


def flips(table: pd.DataFrame) -> ChartType:
    """Return between which layers right answer tokens are lost, and won back.

    Args:
        table: of :func:`lenscore.analysis.groups.flips_by_layer`.
    """
    if table.empty or table["n_lost"].sum() == 0:
        return nothing("No answer token that was right at a layer was lost at a later one.")
    named = with_curve_names(table)
    long = named.melt(
        id_vars=["model", "lens", "curve", "layer", "n_tokens", "n_right_before", "n_lost_before"],
        value_vars=list(_FLIPS), var_name="event", value_name="n",
    )  # fmt: skip
    long = shown(
        long.assign(share=long["n"] / long["n_tokens"], event=long["event"].map(_FLIPS)),
        "model", "lens", "curve", "layer", "event", "n", "share", "n_right_before", "n_lost_before",
    )  # fmt: skip
    bars = (
        alt.Chart()
        .mark_bar(opacity=0.85)
        .encode(
            x=alt.X("layer:O", title="layer at which it changes", axis=alt.Axis(labelOverlap=True, labelAngle=0)),
            xOffset=alt.XOffset("event:N", sort=list(_FLIPS.values())),
            y=alt.Y("share:Q", title="share of answer tokens", axis=alt.Axis(format=".1~%", tickCount=5)),
            color=alt.Color("event:N", title=None, sort=list(_FLIPS.values()), legend=alt.Legend(orient="top")),
            tooltip=["curve:N", "layer:O", "event:N", alt.Tooltip("n:Q", title="answer tokens"),
                     alt.Tooltip("n_right_before:Q", title="right at the layer before"),
                     alt.Tooltip("n_lost_before:Q", title="lost before")],
        )
        .properties(width=_WIDTH, height=130)
    )  # fmt: skip
    return with_filters(a_row_a_curve(bars, long))


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
    long = shown(
        long.assign(read_by=long["lens"].map(_LENSES), curve=long["model"]),
        "model", "curve", "read_by", "layer", "kl", "n_tokens",
    )  # fmt: skip
    lines = (
        alt.Chart()
        .mark_line(point=True)
        .encode(
            x=alt.X("layer:Q", title="layer", axis=alt.Axis(tickMinStep=1)),
            # Layer 0's divergence under the logit lens dwarfs all others.
            y=alt.Y("kl:Q", title="KL from the model (nats)", scale=alt.Scale(type="symlog")),
            color=alt.Color("read_by:N", title=None, sort=list(_LENSES.values()), legend=alt.Legend(orient="top")),
            tooltip=["model:N", alt.Tooltip("read_by:N", title="lens"), "layer:Q",
                     alt.Tooltip("kl:Q", format=".3f"), alt.Tooltip("n_tokens:Q", title="tokens")],
        )
        .properties(width=_WIDTH, height=180)
    )  # fmt: skip
    return with_filters(a_panel_a_curve(lines, long, columns=1))


def essential_layers(table: pd.DataFrame) -> ChartType:
    """Return what each layer does, as observed, by region of the gold document's position; last, its block's worth.

    Args:
        table: of :func:`lenscore.analysis.layers.with_causes`.
    """
    if table.empty:
        return nothing(_NONE_RIGHT)
    named = with_curve_names(table)
    measures: dict[str, str | list[str]] = {**_ESSENTIAL, **_cause(named)}
    return with_filters(stacked(*[_of_regions(named, measure, title) for measure, title in measures.items()]))


def _of_regions(named: pd.DataFrame, measure: str, title: str | list[str]) -> ChartType:
    """Return one measure layer by layer: a bar for all positions, a point for each region."""
    cause = measure == _CAUSE
    ends = {f"{_CAUSE}_low": "interval from", f"{_CAUSE}_high": "to"} if cause else {}
    count = "n_ablated" if cause else "n_right"
    measured = named.dropna(subset=measure)
    part = shown(measured, "model", "lens", "curve", "region", "layer", count, measure, *ends)
    regions = [region for region in dict.fromkeys(part["region"]) if region != "all"]
    x = alt.X("layer:O", title="layer", axis=alt.Axis(labelOverlap=True, labelAngle=0))
    # Layer 0 is decoded as the token just read, surely and wrongly: the rise at layer 1 dwarfs the others. So does the
    # cost of the first blocks.
    nats = cause or measure == "mean_rise"
    scale = alt.Scale(type="symlog") if nats else alt.Undefined
    axis = alt.Axis(format=".2~f" if nats else "%", tickCount=5)
    y = alt.Y(f"{measure}:Q", title=title, axis=axis, scale=scale)
    interval = [alt.Tooltip(f"{end}:Q", title=says, format=".3f") for end, says in ends.items()]
    tip = [
        "region:N", "layer:O", alt.Tooltip(f"{measure}:Q", format=".3f"),
        *interval, alt.Tooltip(f"{count}:Q", title="answer tokens"),
    ]  # fmt: skip
    everywhere = alt.Chart().transform_filter("datum.region === 'all'")
    layers = [everywhere.mark_bar(style=REFERENCE).encode(x=x, y=y, tooltip=tip)]
    if cause:
        # Of all positions alone: the regions' would hide one another.
        low = alt.Y(f"{_CAUSE}_low:Q", title=title, axis=axis, scale=scale)
        layers.append(everywhere.mark_rule(style=QUIET).encode(x=x, y=low, y2=f"{_CAUSE}_high:Q"))
    colour = alt.Color("region:N", title="gold document at", sort=regions, scale=alt.Scale(domain=regions),
                       legend=alt.Legend(orient="top"))  # fmt: skip
    points = alt.Chart().transform_filter("datum.region !== 'all'").mark_point(filled=True, size=28)
    layers.append(points.encode(x=x, y=y, color=colour, tooltip=tip))
    panel = alt.layer(*layers).properties(width=_WIDTH, height=130)
    return a_row_a_curve(panel, part)


def _cause(table: pd.DataFrame) -> dict[str, str | list[str]]:
    """Return the measure of what blocks are worth with its title, a line each, where something was ablated."""
    ablated = table.dropna(subset=_CAUSE) if _CAUSE in table else table.iloc[:0]
    if ablated.empty:
        return {}
    scope, replacement = ablated.iloc[0][["scope", "replacement"]]
    where = [] if scope == "all" else ["at the answer alone"]
    return {_CAUSE: ["drop of log p (nats) when", _ABLATED[replacement], *where]}
