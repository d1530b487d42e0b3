"""What charts are put together from: names, axes, lines with their bands, filters, and what stands where nothing does.

Every chart but the grid of one context has the parameters of ``FILTERS``, and keeps to those that its table has columns
for. As drawn they show everything; the page sets them in all charts at once.
"""

from collections.abc import Sequence

import altair as alt
import pandas as pd
from altair.typing import ChartType

from lenscore.report.charts.theme import QUIET

POSITION = alt.X(
    "relative_position:Q",
    title="relative position of gold document",
    scale=alt.Scale(domain=[0, 1], padding=8),
    axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".2~f"),
)

ALL_CONTEXTS = "all contexts"

# Parameter → its value where nothing is chosen, the column that it filters, and the rows that it keeps. Controls, which
# have no position, stay whatever positions are chosen.
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


# Of a table with rows in which positions, or numbers of documents too, are joined (null), those that join what is
# chosen. Where a choice holds several rows, the chart joins them, and they have no interval.
POSITIONS_JOINED = "isValid(datum.gold_index) === (length(shown_positions) > 0)"
LENGTHS_JOINED = "isValid(datum.gold_index) || isValid(datum.n_documents) === (length(shown_documents) > 0)"


def interval_text(number: str) -> str:
    """Return the expression that writes ``low`` and ``high`` as an interval, where the chart has joined no rows."""
    low, high = f"format(datum.low, '{number}')", f"format(datum.high, '{number}')"
    return f"datum.rows === 1 && isValid(datum.low) ? {low} + ' to ' + {high} : 'none for what is chosen together'"


def interval_ends(value: str) -> dict[str, str]:
    """Return the expressions of an interval's ends; both are the value itself where the chart has joined rows."""
    return {end: f"datum.rows === 1 ? datum.{end} : datum.{value}" for end in ("low", "high")}


def filtered(chart: ChartType, table: pd.DataFrame, *, without: Sequence[str] = ()) -> ChartType:
    """Return the chart with the tests of those filters that its table has columns for.

    Args:
        chart: a chart, layers over one another, or panels.
        table: its data.
        without: filters that it does not take.
    """
    for name, (_, column, test) in FILTERS.items():
        if column in table and name not in without:
            chart = chart.transform_filter(test)
    return chart


def with_filters(chart: ChartType) -> ChartType:
    """Return a whole chart with the parameters of the filters, all of them set to show everything."""
    values = [alt.VariableParameter(name=name, value=value) for name, (value, _, _) in FILTERS.items()]
    # Altair's own add_params hands parameters down to a chart's parts, which may not share them.
    chart.params = [*(chart.params if isinstance(chart.params, list) else []), *values]
    return chart


def shown(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Return what a chart needs of its table, numbers to five digits: the page carries the data of every chart."""
    chosen = table[list(dict.fromkeys(columns))]
    floats = chosen.select_dtypes("float").columns
    return chosen.assign(**{name: chosen[name].map(lambda value: float(f"{value:.5g}")) for name in floats})


def stacked(*rows: ChartType) -> ChartType:
    """Return the rows under one another, with one legend of colours."""
    stacked: alt.VConcatChart = alt.vconcat(*rows).resolve_scale(color="shared")
    return stacked


def beside(*columns: ChartType) -> ChartType:
    """Return the charts beside one another."""
    row: alt.HConcatChart = alt.hconcat(*columns, spacing=16)
    return row


def a_row_a_curve(chart: ChartType, table: pd.DataFrame, *, without: Sequence[str] = ()) -> ChartType:
    """Return the chart once for each curve that is shown, under one another; a single curve is not named."""
    row = alt.Row("curve:N", title=None, sort=curve_order(table), header=header_of(table))
    # Filtered before it is split into panels: a curve that is not shown takes no room.
    return filtered(chart.facet(data=table, row=row), table, without=without)


def a_panel_a_curve(chart: ChartType, table: pd.DataFrame, *, columns: int, without: Sequence[str] = ()) -> ChartType:
    """Return the chart once for each curve that is shown, in lines of ``columns``; a single curve is not named."""
    panel = alt.Facet("curve:N", title=None, sort=curve_order(table), header=header_of(table))
    return filtered(chart.facet(panel, data=table, columns=columns), table, without=without)


def a_panel_each(chart: ChartType, table: pd.DataFrame, *, by: str, columns: int) -> ChartType:
    """Return the chart once for each curve and value of ``by`` that is shown, one curve in a line of ``columns``.

    Not crossed rows and columns: of those a row stays empty where all of it is filtered out.
    """
    several = table["curve"].nunique() > 1
    panels = table[by] + ("\n" + table["curve"] if several else "")
    order = list(dict.fromkeys(panels.iloc[table["curve"].argsort(kind="stable")]))
    header = alt.Header(labelAnchor="start", labelPadding=4, labelExpr="split(datum.label, '\\n')")
    panel = alt.Facet("panel:N", title=None, sort=order, header=header)
    return filtered(chart.facet(panel, data=table.assign(panel=panels), columns=columns), table)


def line_layers(
    table: pd.DataFrame, title: str, *, percent: bool = False, params: Sequence[alt.Parameter] = ()
) -> list[alt.Chart]:
    """Return band, line and points of means against position, a colour a number of documents, without their data.

    Args:
        table: of all panels, named.
        title: of the y axis.
        percent: the means are shares.
        params: selections on the points.
    """
    base = alt.Chart().encode(x=POSITION, color=documents_colour(table))
    axis = alt.Axis(format="%" if percent else ".2~f", tickCount=5)
    mean = alt.Y("mean:Q", title=title, scale=alt.Scale(zero=False, nice=True), axis=axis)
    band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title=title, axis=axis), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=mean)
    points = base.mark_point(filled=True, size=45, opacity=1).encode(y=mean, tooltip=tooltips(title, percent=percent))
    return [band, line, points.add_params(*params) if params else points]


# What the layers above read, with the names of panels and colours.
LINE_COLUMNS = (
    "model", "lens", "n_documents", "curve", "documents", "gold_index", "relative_position", "mean", "low", "high",
    "n_tokens", "n_questions",
)  # fmt: skip


def documents_colour(table: pd.DataFrame, title: str | None = None) -> alt.Color:
    """Return the colour of a number of documents: the same one whatever is filtered."""
    return alt.Color(
        "documents:N",
        title=title,
        sort=document_order(table),
        scale=alt.Scale(domain=document_order(table)),
        legend=alt.Legend(orient="top", symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1),
    )


def tooltips(title: str, *, percent: bool = False) -> list[alt.Tooltip]:
    """Return what hovering over a point of a curve shows."""
    number = ".1%" if percent else ".3f"
    return [
        alt.Tooltip("curve:N", title="curve"),
        alt.Tooltip("documents:N", title="context"),
        alt.Tooltip("gold_index:Q", title="gold index"),
        alt.Tooltip("relative_position:Q", title="relative position", format=".2f"),
        alt.Tooltip("mean:Q", title=title, format=number),
        alt.Tooltip("low:Q", title="interval from", format=number),
        alt.Tooltip("high:Q", title="to", format=number),
        alt.Tooltip("n_tokens:Q", title="n"),
        alt.Tooltip("n_questions:Q", title="questions"),
    ]


def with_curve_names(table: pd.DataFrame) -> pd.DataFrame:
    """Name each panel by the model, and by context set and lens only where there are several."""
    parts = ["model"] + [column for column in ("context_set", "lens") if table[column].nunique() > 1]
    return table.assign(curve=table[parts].agg(", ".join, axis=1))


def with_documents(table: pd.DataFrame) -> pd.DataFrame:
    """Write the number of documents in words; where numbers of documents are joined, those."""
    counts = table["n_documents"].astype("Int64")
    words = [ALL_CONTEXTS if pd.isna(n) else "1 document" if n == 1 else f"{n} documents" for n in counts]
    return table.assign(documents=words)


def document_order(table: pd.DataFrame) -> list[str]:
    """Return the numbers of documents in words, the smallest first."""
    return list(dict.fromkeys(table.dropna(subset="n_documents").sort_values("n_documents")["documents"]))


def curve_order(table: pd.DataFrame) -> list[str]:
    """Return the curves' names in order."""
    return sorted(table["curve"].unique())


def curves_at_once(table: pd.DataFrame) -> int:
    """Return how many curves stand beside one another when one lens is shown."""
    return int(table.groupby("lens")["curve"].nunique().max())


def nothing(words: str) -> ChartType:
    """Return a chart that says why there is nothing to draw."""
    chart: alt.Chart = (
        alt.Chart(pd.DataFrame({"words": [words]}))
        .mark_text(fontSize=13, style=f"{QUIET}-text")
        .encode(text="words:N")
        .properties(width=560, height=60)
    )
    return chart


def header_of(table: pd.DataFrame) -> alt.Header:
    """Name panels by their curves, unless there is but one."""
    several = table["curve"].nunique() > 1
    return alt.Header(labels=several, labelOrient="top", labelAnchor="start", labelPadding=4)
