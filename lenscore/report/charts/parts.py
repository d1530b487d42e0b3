"""What charts are put together from: names, axes, lines with their bands, and what is shown where there is nothing."""

import altair as alt
import pandas as pd
from altair.typing import ChartType

from lenscore.report import theme  # registers the theme  # noqa: F401

POSITION = alt.X(
    "relative_position:Q",
    title="relative position of gold document",
    scale=alt.Scale(domain=[0, 1], padding=8),
    axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".2~f"),
)


def stacked(*rows: ChartType) -> ChartType:
    """Return the rows under one another, with one legend of colours."""
    stacked: alt.VConcatChart = alt.vconcat(*rows).resolve_scale(color="shared")
    return stacked


def title_of(table: pd.DataFrame, curve: str) -> alt.TitleParams:
    """Name a panel by its curve, unless there is but one."""
    return alt.TitleParams(curve if table["curve"].nunique() > 1 else "", frame="group")


def small_title(lines: list[str]) -> alt.TitleParams:
    """Return the title of a small panel, a line each."""
    return alt.TitleParams(lines, frame="group", fontSize=11)


def line_layers(
    table: pd.DataFrame, title: str, *, percent: bool = False, order: list[str] | None = None
) -> list[alt.Chart]:
    """Return band, line and points of means against position, a colour a number of documents.

    Args:
        table: of one panel, named.
        title: of the y axis.
        percent: the means are shares.
        order: every number of documents that some panel has, where this one may lack some.
    """
    base = alt.Chart(table).encode(
        x=POSITION,
        color=alt.Color(
            "documents:N",
            title=None,
            sort=order or document_order(table),
            legend=alt.Legend(orient="top", symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1),
        ),
    )
    axis = alt.Axis(format="%" if percent else ".2~f", tickCount=5)
    mean = alt.Y("mean:Q", title=title, scale=alt.Scale(zero=False, nice=True), axis=axis)
    band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title=title, axis=axis), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=mean)
    points = base.mark_point(filled=True, size=45, opacity=1).encode(y=mean, tooltip=tooltips(table, title))
    return [band, line, points]


def header_of(table: pd.DataFrame) -> alt.Header:
    """Name a facet's columns by their curves, unless there is but one."""
    return alt.Header(labels=table["curve"].nunique() > 1)


def tooltips(table: pd.DataFrame, title: str) -> list[alt.Tooltip]:
    """Return what hovering over a point of a curve shows."""
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


def with_curve_names(table: pd.DataFrame) -> pd.DataFrame:
    """Name each panel by the model, and by context set and lens only where there are several."""
    parts = ["model"] + [column for column in ("context_set", "lens") if table[column].nunique() > 1]
    return table.assign(curve=table[parts].agg(", ".join, axis=1))


def with_documents(table: pd.DataFrame) -> pd.DataFrame:
    """Write the number of documents in words."""
    counts = table["n_documents"].astype(int)
    return table.assign(documents=counts.map(lambda n: f"{n} document{'s' * (n != 1)}"))


def document_order(table: pd.DataFrame) -> list[str]:
    """Return the numbers of documents in words, the smallest first."""
    return list(dict.fromkeys(table.sort_values("n_documents")["documents"]))


def nothing(words: str) -> ChartType:
    """Return a chart that says why there is nothing to draw."""
    chart: alt.Chart = (
        alt.Chart(pd.DataFrame({"words": [words]}))
        .mark_text(fontSize=13, color="#555555")
        .encode(text="words:N")
        .properties(width=560, height=60)
    )
    return chart
