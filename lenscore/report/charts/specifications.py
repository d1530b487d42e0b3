"""The chart of every way of asking whether a curve bends or tilts."""

import altair as alt
import pandas as pd
from altair.typing import ChartType

from lenscore.report.charts.parts import (
    chart_data,
    empty_chart,
    panel_per_curve_and_value,
    with_curve_names,
    with_document_labels,
    with_filters,
)  # fmt: skip
from lenscore.report.charts.theme import QUIET
from lenscore.report.names import CONTRASTS, MEASURE_NAMES, POPULATIONS, TOKENS

_COLUMNS = (
    "model", "lens", "n_documents", "curve", "place", "estimate", "low", "high", "measure", "tokens", "population",
    "primary", "n_tokens", "n_questions", "over",
)  # fmt: skip


def specification_curve(table: pd.DataFrame) -> ChartType:
    """Return every way's estimate with its interval, in the order of the estimates; a ring marks the primary analysis.

    Args:
        table: of :func:`lenscore.analysis.specification_curve.specification_curve`.
    """
    if table.empty:
        return empty_chart("No context set has three positions of the gold document with right tokens at each.")
    # All lenses stand in one panel: they are ways, not curves.
    named = with_document_labels(with_curve_names(table.assign(lens="")))
    named = named.assign(
        lens=table["lens"],
        over=named["documents"] + ": " + named["contrast"].map(CONTRASTS),
        measure=named["measure"].map(MEASURE_NAMES),
        tokens=named["tokens"].map(TOKENS),
        population=named["population"].map(POPULATIONS),
    )
    data = chart_data(named, *_COLUMNS)
    # With a domain of their own the axes need no data: a filter may leave none.
    places = alt.Scale(domain=[-1, int(data["place"].max()) + 1])
    x = alt.X("place:Q", title="ways of asking, by estimate", scale=places, axis=alt.Axis(labels=False, ticks=False))
    base = alt.Chart().encode(x=x)
    zero = alt.Chart().mark_rule(style=QUIET).encode(y=alt.datum(0))
    axis = alt.Axis(format=".2~f", tickCount=5)
    layers = alt.Scale(domain=[float(data["low"].min()), float(data["high"].max())], nice=True)
    y = alt.Y("estimate:Q", title="layers", axis=axis, scale=layers)
    low = alt.Y("low:Q", title="layers", axis=axis, scale=layers)
    interval = base.mark_rule(opacity=0.35).encode(y=low, y2="high:Q", color=_measure(data))
    points = base.mark_point(size=32, filled=True, opacity=1).encode(
        y=y, color=_measure(data), shape=_population(data), tooltip=_tooltips()
    )
    ring = base.transform_filter("datum.primary").mark_point(size=220, strokeWidth=2, filled=False).encode(y=y)
    panel = alt.layer(zero, interval, points, ring).properties(width=360, height=200)
    return with_filters(panel_per_curve_and_value(panel, data, by="over", columns=2))


def _measure(data: pd.DataFrame) -> alt.Color:
    present = [name for name in MEASURE_NAMES.values() if name in set(data["measure"])]
    legend = alt.Legend(orient="top", columns=1, symbolType="circle", labelLimit=240)
    return alt.Color("measure:N", title=None, sort=present, scale=alt.Scale(domain=present), legend=legend)


def _population(data: pd.DataFrame) -> alt.Shape:
    present = [name for name in POPULATIONS.values() if name in set(data["population"])]
    legend = alt.Legend(orient="top", columns=1, labelLimit=240)
    return alt.Shape("population:N", title=None, sort=present, scale=alt.Scale(domain=present), legend=legend)


def _tooltips() -> list[alt.Tooltip]:
    words = [alt.Tooltip(f"{name}:N") for name in ("measure", "tokens", "population", "lens")]
    numbers = [("estimate", "layers"), ("low", "interval from"), ("high", "to")]
    return [
        *words,
        *(alt.Tooltip(f"{name}:Q", title=title, format=".3f") for name, title in numbers),
        alt.Tooltip("n_tokens:Q", title="n"),
        alt.Tooltip("n_questions:Q", title="questions"),
    ]
