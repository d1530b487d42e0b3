"""The parts that charts share: labels, axes, lines with bands, panels, filters, and a chart of words where data lack.

Every chart but the grid of one context has the parameters of ``FILTERS`` and applies those that its table has columns
for. In a chart's file they show everything; the page sets them in all charts at once.
"""

import textwrap
from collections.abc import Sequence

import altair as alt
import pandas as pd
from altair.typing import ChartType

from lenscore.analysis.measures import MEASURES
from lenscore.report.charts.theme import QUIET
from lenscore.report.names import documents

# Titles, in lines that fit beside or below a small panel.
DEPTHS = {name: measure.title for name, measure in MEASURES.items()}

POSITION = alt.X(
    "relative_position:Q",
    title="relative position",
    scale=alt.Scale(domain=[0, 1], padding=8),
    axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".2~f"),
)

ALL_CONTEXTS = "all contexts"

# By parameter: its value where nothing is chosen, the column that it filters, and the test of the rows that it keeps.
# Controls have no position: they stay whatever positions are chosen.
FILTERS: dict[str, tuple[str | list[str], str, str]] = {
    "shown_model": ("", "model", "!shown_model || datum.model === shown_model"),
    "shown_lens": ("", "lens", "!shown_lens || datum.lens === shown_lens"),
    "shown_documents": (
        [], "n_documents", "!length(shown_documents) || indexof(shown_documents, datum.n_documents) >= 0",
    ),
    "shown_positions": (
        [],
        "relative_position",
        "!length(shown_positions) || !isValid(datum.relative_position) || "
        "(datum.relative_position >= shown_positions[0] && datum.relative_position <= shown_positions[1])",
    ),
}  # fmt: skip

# Some tables also have rows that pool all positions, or all positions and numbers of documents (null in these columns).
# These tests keep the pooled rows where nothing is chosen, and the single ones where something is. Where several single
# rows are chosen, the chart adds up their counts; the sum has no interval.
POSITIONS_POOLED = "isValid(datum.gold_index) === (length(shown_positions) > 0)"
DOCUMENTS_POOLED = "isValid(datum.gold_index) || isValid(datum.n_documents) === (length(shown_documents) > 0)"


def interval_text(number: str) -> str:
    """Return the Vega expression that writes the interval ``low`` to ``high``, if the chart has pooled no rows.

    Args:
        number: the format of its ends, as d3-format writes it.
    """
    low, high = f"format(datum.low, '{number}')", f"format(datum.high, '{number}')"
    return f"datum.rows === 1 && isValid(datum.low) ? {low} + ' to ' + {high} : 'none for several pooled together'"


def interval_ends(value: str) -> dict[str, str]:
    """Return the Vega expressions of an interval's ends; both are the value itself if the chart has pooled rows."""
    return {end: f"datum.rows === 1 ? datum.{end} : datum.{value}" for end in ("low", "high")}


def filtered(chart: ChartType, table: pd.DataFrame, *, without: Sequence[str] = ()) -> ChartType:
    """Return the chart with those filters that its table has columns for.

    Args:
        chart: a chart, layers over one another, or panels.
        table: its data.
        without: names of filters to leave out.
    """
    for name, (_, column, test) in FILTERS.items():
        if column in table and name not in without:
            chart = chart.transform_filter(test)
    return chart


def with_filters(chart: ChartType) -> ChartType:
    """Return a complete chart with the parameters of all filters, set to show everything."""
    values = [alt.VariableParameter(name=name, value=value) for name, (value, _, _) in FILTERS.items()]
    # Altair's own add_params hands parameters down to a chart's parts, which may not share them.
    chart.params = [*(chart.params if isinstance(chart.params, list) else []), *values]
    return chart


def chart_data(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Return the columns that a chart needs, numbers to five digits: the page carries the data of every chart."""
    chosen = table[list(dict.fromkeys(columns))]
    floats = chosen.select_dtypes("float").columns
    return chosen.assign(**{name: chosen[name].map(lambda value: float(f"{value:.5g}")) for name in floats})


def stacked(*rows: ChartType) -> ChartType:
    """Return the charts one below the other, with one legend of colours."""
    stacked: alt.VConcatChart = alt.vconcat(*rows).resolve_scale(color="shared")
    return stacked


def side_by_side(*columns: ChartType) -> ChartType:
    """Return the charts side by side."""
    row: alt.HConcatChart = alt.hconcat(*columns, spacing=16)
    return row


def row_per_curve(chart: ChartType, table: pd.DataFrame, *, without: Sequence[str] = ()) -> ChartType:
    """Return the chart repeated in a row for each curve that is shown; a single curve is not named."""
    row = alt.Row("curve:N", title=None, sort=curve_order(table), header=curve_header(table))
    # Filtered before it is split into panels, so that a curve that is not shown takes no room.
    return filtered(chart.facet(data=table, row=row), table, without=without)


def panel_per_curve(chart: ChartType, table: pd.DataFrame, *, columns: int, without: Sequence[str] = ()) -> ChartType:
    """Return the chart repeated in a panel for each curve that is shown; a single curve is not named.

    Args:
        chart: to repeat.
        table: its data.
        columns: panels side by side.
        without: names of filters to leave out.
    """
    panel = alt.Facet("curve:N", title=None, sort=curve_order(table), header=curve_header(table))
    return filtered(chart.facet(panel, data=table, columns=columns), table, without=without)


def panel_per_curve_and_value(chart: ChartType, table: pd.DataFrame, *, by: str, columns: int) -> ChartType:
    """Return the chart repeated in a panel for each curve and value of a column that are shown.

    A grid of rows × columns would keep an empty row for a curve that is filtered out.

    Args:
        chart: to repeat.
        table: its data.
        by: the column.
        columns: panels side by side.
    """
    several = table["curve"].nunique() > 1
    panels = table[by] + ("\n" + table["curve"] if several else "")
    order = list(dict.fromkeys(panels.iloc[table["curve"].argsort(kind="stable")]))
    header = alt.Header(labelAnchor="start", labelPadding=4, labelExpr="split(datum.label, '\\n')")
    panel = alt.Facet("panel:N", title=None, sort=order, header=header)
    return filtered(chart.facet(panel, data=table.assign(panel=panels), columns=columns), table)


def line_layers(
    table: pd.DataFrame,
    title: str,
    *,
    percent: bool = False,
    params: Sequence[alt.Parameter] = (),
    colour: alt.Color | None = None,
) -> list[alt.Chart]:
    """Return band, line and points of means by position; they have no data yet.

    Args:
        table: the data of all panels, with ``documents``.
        title: of the y axis, in lines.
        percent: whether the means are shares.
        params: selections on the points.
        colour: what the colours are of; by default the number of documents.
    """
    base = alt.Chart().encode(x=POSITION, color=colour or documents_colour(table))
    axis = alt.Axis(format="%" if percent else ".2~f", tickCount=5)
    lines = title.split("\n")
    mean = alt.Y("mean:Q", title=lines, scale=alt.Scale(zero=False, nice=True), axis=axis)
    band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title=lines, axis=axis), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=mean)
    points = base.mark_point(filled=True, size=45, opacity=1).encode(y=mean, tooltip=tooltips(title, percent=percent))
    return [band, line, points.add_params(*params) if params else points]


# The columns that the layers above read.
LINE_COLUMNS = (
    "model", "lens", "n_documents", "curve", "documents", "gold_index", "relative_position", "mean", "low", "high",
    "n_tokens", "n_questions",
)  # fmt: skip


def documents_colour(table: pd.DataFrame, title: str | None = None) -> alt.Color:
    """Return the colour channel of the number of documents: each keeps its colour whatever is filtered."""
    return alt.Color(
        "documents:N",
        title=title,
        sort=document_order(table),
        scale=alt.Scale(domain=document_order(table)),
        legend=alt.Legend(orient="top", symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1),
    )


def tooltips(title: str, *, percent: bool = False) -> list[alt.Tooltip]:
    """Return the tooltip of a point of a curve."""
    number = ".1%" if percent else ".3f"
    return [
        alt.Tooltip("curve:N", title="curve"),
        alt.Tooltip("documents:N", title="context"),
        alt.Tooltip("gold_index:Q", title="gold index"),
        alt.Tooltip("relative_position:Q", title="relative position", format=".2f"),
        alt.Tooltip("mean:Q", title=title.replace("\n", " "), format=number),
        alt.Tooltip("low:Q", title="interval from", format=number),
        alt.Tooltip("high:Q", title="to", format=number),
        alt.Tooltip("n_tokens:Q", title="n"),
        alt.Tooltip("n_questions:Q", title="questions"),
    ]


def with_curve_names(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with ``curve``: the model, and the context set and the lens where there are several."""
    parts = ["model"] + [column for column in ("context_set", "lens") if table[column].nunique() > 1]
    return table.assign(curve=table[parts].agg(", ".join, axis=1))


def with_document_labels(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with ``documents``: the number of documents in words, or that all are pooled."""
    counts = table["n_documents"].astype("Int64")
    words = [ALL_CONTEXTS if pd.isna(n) else documents(int(n)) for n in counts]
    return table.assign(documents=words)


def document_order(table: pd.DataFrame) -> list[str]:
    """Return the numbers of documents in words, in ascending order."""
    return list(dict.fromkeys(table.dropna(subset="n_documents").sort_values("n_documents")["documents"]))


def curve_order(table: pd.DataFrame) -> list[str]:
    """Return the curves' names in alphabetical order."""
    return sorted(table["curve"].unique())


def most_curves_of_a_lens(table: pd.DataFrame) -> int:
    """Return the largest number of curves that one lens has: the page first shows one lens alone."""
    return int(table.groupby("lens")["curve"].nunique().max())


def empty_chart(words: str) -> ChartType:
    """Return a chart of words that say why there is nothing to draw, in lines that fit a telephone."""
    lines = textwrap.wrap(words, 46)
    chart: alt.Chart = (
        alt.Chart(pd.DataFrame({"words": ["\n".join(lines)]}))
        .mark_text(fontSize=13, style=f"{QUIET}-text", lineBreak="\n", baseline="top", y=10)
        .encode(text="words:N")
        .properties(width=320, height=20 * len(lines) + 20)
    )
    return chart


def curve_header(table: pd.DataFrame) -> alt.Header:
    """Return the header that names panels by their curves, unless there is only one."""
    several = table["curve"].nunique() > 1
    return alt.Header(labels=several, labelOrient="top", labelAnchor="start", labelPadding=4)
