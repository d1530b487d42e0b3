"""Charts of what happens at each layer."""

from typing import Any

import altair as alt
import pandas as pd
from altair.typing import ChartType

from lenscore.report.charts.parts import (
    DOCUMENTS_POOLED,
    POSITIONS_POOLED,
    chart_data,
    documents_colour,
    empty_chart,
    interval_ends,
    interval_text,
    panel_per_curve,
    panel_per_curve_and_value,
    row_per_curve,
    side_by_side,
    stacked,
    with_curve_names,
    with_document_labels,
    with_filters,
)
from lenscore.report.charts.theme import QUIET, REFERENCE
from lenscore.report.names import ABLATED_BLOCK, MEASURED_ON, SCOPES

_WIDTH = 800
_NONE_RIGHT = "No answer token is right at the last layer."
_FLIPS = {"lost": "lost", "regained": "won back"}
_EVENTS = {"first_correct": "first right", "settled": "settled"}
_ESSENTIAL = {
    "share_first_right": "share first right here",
    "share_settled": "share settled here",
    "mean_rise": "mean rise of log p (nats)",
}
_CAUSE = "logprob_drop"
_PLACE = ("model", "lens", "n_documents", "curve", "documents", "relative_position")


def layers_reached(table: pd.DataFrame) -> ChartType:
    """Return the distributions of the first-correct and settled layers, over the positions that are shown.

    Args:
        table: of :func:`lenscore.analysis.layers.layers_reached`.
    """
    if table.empty:
        return empty_chart(_NONE_RIGHT)
    named = with_document_labels(with_curve_names(table))
    columns = []
    for event, title in _EVENTS.items():
        part = chart_data(named[named["event"] == event], *_PLACE, "gold_index", "layer", "n", "n_right", "low", "high")
        lines = (
            alt.Chart()
            .transform_filter(POSITIONS_POOLED)
            .transform_aggregate(
                n="sum(n)", total="sum(n_right)", rows="count()", low="min(low)", high="max(high)",
                groupby=["curve", "documents", "layer"],
            )
            .transform_calculate(share="datum.n / datum.total", interval=interval_text(".1%"))
            .mark_line(strokeWidth=1.8, point=alt.OverlayMarkDef(size=22, filled=True))
            .encode(
                x=alt.X("layer:Q", title=f"layer at which tokens are {title}", axis=alt.Axis(tickMinStep=1)),
                y=alt.Y("share:Q", title="share of answer tokens", axis=alt.Axis(format="%", tickCount=5)),
                color=documents_colour(named),
                tooltip=["curve:N", alt.Tooltip("documents:N", title="context"), "layer:Q",
                         alt.Tooltip("share:Q", format=".1%"), alt.Tooltip("interval:N", title="interval"),
                         alt.Tooltip("n:Q", title="answer tokens"), alt.Tooltip("total:Q", title="of")],
            )
            .properties(width=370, height=190)
        )  # fmt: skip
        columns.append(row_per_curve(lines, part))
    return with_filters(side_by_side(*columns).resolve_scale(color="shared", y="shared"))


def right_by_layer(table: pd.DataFrame) -> ChartType:
    """Return the heat map of layer × position: how often the lens's top choice is the answer token.

    Args:
        table: of :func:`lenscore.analysis.layers.right_by_layer`.
    """
    placed = table.dropna(subset=["relative_position"])
    if placed.empty:
        return empty_chart("No context has two documents or more.")
    named = with_document_labels(with_curve_names(placed))
    part = chart_data(
        named, *_PLACE, "gold_index", "layer", "share_right", "low", "high", "mean_probability", "n_tokens"
    )
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
                     alt.Tooltip("low:Q", title="interval from", format=".1%"),
                     alt.Tooltip("high:Q", title="to", format=".1%"),
                     alt.Tooltip("mean_probability:Q", title="mean p of the answer token", format=".3f"),
                     alt.Tooltip("n_tokens:Q", title="answer tokens")],
        )
        .properties(width=200, height=alt.Step(10))
    )  # fmt: skip
    panels = panel_per_curve_and_value(cells, part.sort_values("n_documents", kind="stable"), by="documents", columns=4)
    return with_filters(panels.resolve_scale(x="independent"))


def entropy_by_layer(table: pd.DataFrame) -> ChartType:
    """Return the mean entropy of each layer's distribution, a line for each position of the gold document.

    Args:
        table: of :func:`lenscore.analysis.layers.entropy_by_layer`.
    """
    placed = table.dropna(subset=["relative_position"])
    if placed.empty:
        return empty_chart("No context has two documents or more.")
    named = with_document_labels(with_curve_names(placed)).sort_values("n_documents", kind="stable")
    part = chart_data(named, *_PLACE, "gold_index", "layer", "entropy", "low", "high", "n_tokens")
    base = alt.Chart().encode(
        x=alt.X("layer:Q", title="layer", axis=alt.Axis(tickMinStep=1)),
        detail="gold_index:N",
        color=alt.Color("relative_position:Q", title="relative position",
                        scale=alt.Scale(scheme="viridis", domain=[0, 1]),
                        legend=alt.Legend(orient="top", gradientLength=200)),
        tooltip=["curve:N", alt.Tooltip("documents:N", title="context"),
                 alt.Tooltip("gold_index:Q", title="gold index"), "layer:Q",
                 alt.Tooltip("entropy:Q", title="entropy (nats)", format=".3f"),
                 alt.Tooltip("low:Q", title="interval from", format=".3f"),
                 alt.Tooltip("high:Q", title="to", format=".3f"),
                 alt.Tooltip("n_tokens:Q", title="answer tokens")],
    )  # fmt: skip
    band = base.mark_area(opacity=0.12).encode(y=alt.Y("low:Q", title="entropy (nats)"), y2="high:Q")
    line = base.mark_line(strokeWidth=1.6, point=alt.OverlayMarkDef(size=12)).encode(
        y=alt.Y("entropy:Q", title="entropy (nats)")
    )
    panel = alt.layer(band, line).properties(width=370, height=190)
    return with_filters(panel_per_curve_and_value(panel, part, by="documents", columns=2))


def frequent_top1(table: pd.DataFrame) -> ChartType:
    """Return how often each layer's top choice is among the most frequent tokens of the documents.

    Args:
        table: of :func:`lenscore.analysis.layers.frequent_top1`.
    """
    if table.empty:
        return empty_chart("No context with documents was extracted.")
    named = with_curve_names(table)
    named = named.assign(rank=[f"rank 1–{most}" for most in named["most"]])
    part = chart_data(
        named, "model", "lens", "curve", "n_documents", "gold_index", "relative_position", "layer", "rank", "n",
        "n_tokens", "low", "high",
    )  # fmt: skip
    order = list(dict.fromkeys(named.sort_values("most")["rank"]))
    lines = (
        alt.Chart()
        .transform_filter(POSITIONS_POOLED)
        .transform_filter(DOCUMENTS_POOLED)
        .transform_aggregate(
            n="sum(n)", total="sum(n_tokens)", rows="count()", low="min(low)", high="max(high)",
            groupby=["curve", "layer", "rank"],
        )
        .transform_calculate(share="datum.n / datum.total", interval=interval_text(".1%"))
        .transform_calculate(**interval_ends("share"))
        .encode(
            x=alt.X("layer:Q", title="layer", axis=alt.Axis(tickMinStep=1)),
            color=alt.Color("rank:N", title="the top choice's frequency", sort=order, scale=alt.Scale(domain=order),
                            legend=alt.Legend(orient="top")),
            tooltip=["curve:N", "layer:Q", "rank:N", alt.Tooltip("share:Q", format=".1%"),
                     alt.Tooltip("interval:N", title="interval"), alt.Tooltip("n:Q", title="answer tokens"),
                     alt.Tooltip("total:Q", title="of")],
        )
    )  # fmt: skip
    axis = alt.Axis(format="%", tickCount=5)
    band = lines.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title="share of top choices", axis=axis), y2="high:Q")
    line = lines.mark_line(strokeWidth=1.8, point=alt.OverlayMarkDef(size=22)).encode(
        y=alt.Y("share:Q", title="share of top choices", axis=axis)
    )
    return with_filters(row_per_curve(alt.layer(band, line).properties(width=_WIDTH, height=170), part))


def flips(table: pd.DataFrame) -> ChartType:
    """Return the shares of answer tokens that are lost, and that are won back, at each layer.

    Args:
        table: of :func:`lenscore.analysis.layers.flips_by_layer`.
    """
    if table.empty or table["n_lost"].sum() == 0:
        return empty_chart("No answer token that was right at a layer was lost at a later one.")
    named = with_curve_names(table)
    long = pd.concat(
        named.assign(event=title, n=named[f"n_{event}"], low=named[f"{event}_low"], high=named[f"{event}_high"])
        for event, title in _FLIPS.items()
    )
    long = chart_data(
        long, "model", "lens", "curve", "n_documents", "gold_index", "relative_position", "layer", "event", "n",
        "n_tokens", "n_right_before", "n_lost_before", "low", "high",
    )  # fmt: skip
    y = alt.Y("share:Q", title="share of answer tokens", axis=alt.Axis(format=".1~%", tickCount=5))
    base = (
        alt.Chart()
        .transform_filter(POSITIONS_POOLED)
        .transform_filter(DOCUMENTS_POOLED)
        .transform_aggregate(
            n="sum(n)", total="sum(n_tokens)", right="sum(n_right_before)", wrong="sum(n_lost_before)",
            rows="count()", low="min(low)", high="max(high)", groupby=["curve", "layer", "event"],
        )
        .transform_calculate(share="datum.n / datum.total", interval=interval_text(".2%"))
        .encode(
            x=alt.X("layer:O", title="layer at which it changes", axis=alt.Axis(labelOverlap=True, labelAngle=0)),
            xOffset=alt.XOffset("event:N", sort=list(_FLIPS.values())),
            tooltip=["curve:N", "layer:O", "event:N", alt.Tooltip("share:Q", format=".2%"),
                     alt.Tooltip("interval:N", title="interval"), alt.Tooltip("n:Q", title="answer tokens"),
                     alt.Tooltip("total:Q", title="of"), alt.Tooltip("right:Q", title="right at the layer before"),
                     alt.Tooltip("wrong:Q", title="lost before")],
        )
    )  # fmt: skip
    bars = base.mark_bar(opacity=0.85).encode(
        y=y,
        color=alt.Color("event:N", title=None, sort=list(_FLIPS.values()), legend=alt.Legend(orient="top")),
    )
    spans = (
        base.transform_calculate(**interval_ends("share"))
        .mark_rule(style=QUIET)
        .encode(y=alt.Y("low:Q", title="share of answer tokens"), y2="high:Q")
    )
    return with_filters(row_per_curve(alt.layer(bars, spans).properties(width=_WIDTH, height=130), long))


def lens_divergence(table: pd.DataFrame) -> ChartType:
    """Return KL(model ‖ lens) of each layer, for every lens, on held-out documents and at the study's answers.

    Args:
        table: of :func:`lenscore.analysis.divergences.lens_divergence`.
    """
    if table.empty:
        return empty_chart("No context has documents.")
    # Not named lens: that is what the page filters by, and the lenses are to be seen beside one another.
    named = table.assign(
        read_by=table["lens"] + " lens", curve=table["model"], where=table["measured_on"].map(MEASURED_ON)
    )
    long = chart_data(
        named, "model", "curve", "read_by", "where", "layer", "kl", "low", "high", "n_tokens", "sd_seeds"
    )  # fmt: skip
    colour = alt.Color("read_by:N", title=None, sort=sorted(set(named["read_by"])), legend=alt.Legend(orient="top"))
    x = alt.X("layer:Q", title="layer", axis=alt.Axis(tickMinStep=1))
    # Not linear: under the logit lens the divergence of layer 0 dwarfs all others.
    title, scale = "KL from the model (nats)", alt.Scale(type="symlog")
    lines = (
        alt.Chart()
        .mark_line(point=True)
        .encode(
            x=x,
            y=alt.Y("kl:Q", title=title, scale=scale),
            color=colour,
            strokeDash=alt.StrokeDash("where:N", title=None, sort=list(MEASURED_ON.values()),
                                      legend=alt.Legend(orient="top")),
            tooltip=["model:N", alt.Tooltip("read_by:N", title="lens"), alt.Tooltip("where:N", title="measured"),
                     "layer:Q", alt.Tooltip("kl:Q", format=".3f"),
                     alt.Tooltip("low:Q", title="interval from", format=".3f"),
                     alt.Tooltip("high:Q", title="to", format=".3f"),
                     alt.Tooltip("sd_seeds:Q", title="standard deviation over seeds", format=".3f"),
                     alt.Tooltip("n_tokens:Q", title="tokens")],
        )
    )  # fmt: skip
    bands = (
        alt.Chart()
        .transform_filter("isValid(datum.low)")
        .mark_area(opacity=0.2)
        .encode(x=x, y=alt.Y("low:Q", title=title, scale=scale), y2="high:Q", color=colour)
    )
    panel = alt.layer(bands, lines).properties(width=_WIDTH, height=200)
    return with_filters(panel_per_curve(panel, long, columns=1))


def essential_layers(table: pd.DataFrame) -> ChartType:
    """Return what each layer does, by region of the gold document's position: as observed, and last by ablation.

    Args:
        table: of :func:`lenscore.analysis.layers.with_causes`.
    """
    if table.empty:
        return empty_chart(_NONE_RIGHT)
    named = with_curve_names(table)
    measures: dict[str, str | list[str]] = {**_ESSENTIAL, **_cause(named)}
    # One table for all measures, so that the page holds it once.
    counts = [name for name in ("n_right", "n_ablated", f"{_CAUSE}_low", f"{_CAUSE}_high") if name in named]
    part = chart_data(
        named, "model", "lens", "curve", "n_documents", "gold_index", "relative_position", "region", "layer",
        *measures, *counts,
    )  # fmt: skip
    return with_filters(stacked(*[_of_regions(part, measure, title) for measure, title in measures.items()]))


def _of_regions(part: pd.DataFrame, measure: str, title: str | list[str]) -> ChartType:
    """Return one measure by layer: a bar for all positions that are shown, a point for each region."""
    cause = measure == _CAUSE
    count = "n_ablated" if cause else "n_right"
    regions = [region for region in dict.fromkeys(part["region"]) if region != "all"]
    # At layer 0 the lens gives nearly all probability to the token just read, so the rise at layer 1 dwarfs all others;
    # so does the cost of the first blocks.
    nats = cause or measure == "mean_rise"
    scale = alt.Scale(type="symlog") if nats else alt.Undefined
    axis = alt.Axis(format=".2~f" if nats else "%", tickCount=5)
    x = alt.X(
        "layer:O",
        title="layer",
        axis=alt.Axis(labelOverlap=True, labelAngle=0),
        # All layers in every measure, so that they line up: layer 0 has neither a rise nor a block.
        scale=alt.Scale(domain=sorted(part["layer"].unique().tolist())),
    )
    y = alt.Y("value:Q", title=title, axis=axis, scale=scale)
    interval = [alt.Tooltip("interval:N", title="interval")] if cause else []
    tip = ["layer:O", alt.Tooltip("value:Q", title=measure.replace("_", " "), format=".3f"), *interval,
           alt.Tooltip("n:Q", title="answer tokens")]  # fmt: skip

    def pooled(test: str, *by: str) -> alt.Chart:
        ends: dict[str, Any] = {"low": f"min({_CAUSE}_low)", "high": f"max({_CAUSE}_high)"} if cause else {}
        chart = (
            alt.Chart()
            .transform_filter(f"({test}) && datum.{count} > 0")
            .transform_calculate(weighted=f"datum.{measure} * datum.{count}")
            .transform_aggregate(
                weighted="sum(weighted)", n=f"sum({count})", rows="count()", **ends, groupby=["curve", "layer", *by]
            )
            .transform_calculate(value="datum.weighted / datum.n")
        )
        return chart.transform_calculate(interval=interval_text(".3f")) if cause else chart

    everywhere = pooled("datum.region === 'all' || isValid(datum.gold_index)")
    layers = [everywhere.mark_bar(style=REFERENCE).encode(x=x, y=y, tooltip=tip)]
    if cause:
        # For the bars alone: the regions' intervals would hide one another.
        low = alt.Y("low:Q", title=title, axis=axis, scale=scale)
        spans = everywhere.transform_calculate(**interval_ends("value")).mark_rule(style=QUIET)
        layers.append(spans.encode(x=x, y=low, y2="high:Q"))
    colour = alt.Color("region:N", title="gold document at", sort=regions, scale=alt.Scale(domain=regions),
                       legend=alt.Legend(orient="top"))  # fmt: skip
    points = pooled("datum.region !== 'all'", "region").mark_point(filled=True, size=28)
    layers.append(points.encode(x=x, y=y, color=colour, tooltip=["region:N", *tip]))
    panel = alt.layer(*layers).properties(width=_WIDTH, height=130)
    # Filtered before the split into panels, so that a curve without the measure has no panel.
    rows = row_per_curve(panel, part).transform_filter(f"isValid(datum.{measure})")
    return rows.transform_filter(POSITIONS_POOLED).transform_filter(DOCUMENTS_POOLED)


def _cause(table: pd.DataFrame) -> dict[str, str | list[str]]:
    """Return the measure of ablation with the lines of its title; empty if nothing was ablated."""
    ablated = table.dropna(subset=_CAUSE) if _CAUSE in table else table.iloc[:0]
    if ablated.empty:
        return {}
    scope, replacement = ablated.iloc[0][["scope", "replacement"]]
    where = [] if scope == "all" else [SCOPES[scope]]
    return {_CAUSE: ["drop of log p (nats) when", ABLATED_BLOCK[replacement], *where]}
