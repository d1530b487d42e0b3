"""The lens on one context: a cell an answer token × layer, with the lens's top choice written in it."""

from typing import Literal

import altair as alt
import pandas as pd
from altair.typing import ChartType

from lenscore.report.charts.parts import chart_data, empty_chart
from lenscore.report.charts.token_text import visible_text

Colour = Literal["probability", "entropy", "kl"]

# Column, title, colour scheme, scale. A scheme's dark end is its high one.
_COLOURS: dict[Colour, tuple[str, str, alt.Scale]] = {
    "probability": ("target_probability", "p of the answer token", alt.Scale(scheme="blues", domain=[0, 1])),
    "entropy": ("entropy", "entropy (nats)", alt.Scale(scheme="oranges", domainMin=0)),
    "kl": ("kl_to_final", "KL from the model (nats)", alt.Scale(scheme="purples", type="symlog", domainMin=0)),
}
_MARKS = {"first right": "first_correct_layer", "settled": "settled_layer"}
_MARK_COLOURS = ["#D55E00", "#009E73"]
_LONGEST = 13

# The columns that the chart reads, once token texts are made visible.
CELL_COLUMNS = (
    "answer_index", "token", "layer", "top1", "target_probability", "target_rank", "entropy", "kl_to_final",
    "first_correct_layer", "settled_layer",
)  # fmt: skip


def cells_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows of :func:`lenscore.analysis.examples.study_examples` as the chart reads them."""
    named = table.assign(
        token=table["answer_index"].astype(str) + ": " + table["target_text"].map(visible_text),
        top1=table["top1_text"].map(visible_text),
    )
    return chart_data(named, *CELL_COLUMNS)


def lens_grid(table: pd.DataFrame, colour: Colour = "probability") -> ChartType:
    """Return the grid of the first context and lens of a table: layers upwards, answer tokens from left to right.

    Args:
        table: of :func:`lenscore.analysis.examples.study_examples`, whole or filtered for one context and lens.
        colour: what a cell's colour shows.
    """
    if table.empty:
        return empty_chart("No context was chosen: there is none with documents, or report.examples is 0.")
    first = table.iloc[0]
    keys = ["model", "context_id", "lens"]
    cells = cells_of(table[(table[keys] == first[keys]).all(axis=1)])
    column, title, scale = _COLOURS[colour]
    x = alt.X("token:N", title="answer token", sort=alt.EncodingSortField("answer_index", op="min"),
              axis=alt.Axis(orient="top", labelAngle=0, labelLimit=88))  # fmt: skip
    y = alt.Y("layer:O", title="layer", sort="descending")
    tip = [
        alt.Tooltip("token:N", title="answer token"), "layer:O", alt.Tooltip("top1:N", title="top choice"),
        alt.Tooltip("target_probability:Q", title="p of the answer token", format=".4f"),
        alt.Tooltip("target_rank:Q", title="its rank"), alt.Tooltip("entropy:Q", title="entropy (nats)", format=".2f"),
        alt.Tooltip("kl_to_final:Q", title="KL from the model (nats)", format=".3f"),
    ]  # fmt: skip
    fill = alt.Color(f"{column}:Q", title=title, scale=scale, legend=alt.Legend(orient="bottom", gradientLength=160))
    rectangles = alt.Chart().mark_rect().encode(x=x, y=y, color=fill, tooltip=tip)
    dark = f"luminance(scale('color', datum.{column})) < 0.4"
    words = (
        alt.Chart()
        .transform_calculate(word=f"truncate(datum.top1, {_LONGEST})")
        .mark_text(fontSize=10.5)
        .encode(
            x=x, y=y, text="word:N", color=alt.condition(dark, alt.value("white"), alt.value("#1c1e21")), tooltip=tip
        )
    )
    layers: list[alt.Chart] = [rectangles, words]
    for place, (name, of_layer) in enumerate(_MARKS.items()):
        stroke = alt.Stroke("mark:N", title=None, scale=alt.Scale(domain=list(_MARKS), range=_MARK_COLOURS),
                            legend=alt.Legend(orient="bottom", symbolType="stroke"))  # fmt: skip
        # The second is thinner and on top, so that both are visible in the same cell.
        outline = (
            alt.Chart().transform_filter(f"datum.layer === datum.{of_layer}").transform_calculate(mark=f"'{name}'")
        )
        layers.append(
            outline.mark_rect(fillOpacity=0, strokeWidth=(4, 1.8)[place]).encode(x=x, y=y, stroke=stroke, tooltip=tip)
        )
    grid: ChartType = alt.layer(*layers, data=cells).properties(width=alt.Step(92), height=alt.Step(17))
    return grid
