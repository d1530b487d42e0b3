"""Charts of what moves with the gold document's position."""

import altair as alt
import pandas as pd
from altair.typing import ChartType

from lenscore.analysis.populations import HEADLINE
from lenscore.report.charts.parts import (
    FILTERS,
    LINE_COLUMNS,
    a_panel_a_curve,
    a_panel_each,
    a_row_a_curve,
    beside,
    curves_at_once,
    filtered,
    line_layers,
    nothing,
    shown,
    stacked,
    tooltips,
    with_curve_names,
    with_documents,
    with_filters,
)  # fmt: skip
from lenscore.report.charts.theme import QUIET

_MEASURES = {
    "refinement_depth": "refinement depth (layers)",
    "first_correct_layer": "first-correct layer",
    "settled_layer": "settled layer",
    "own_token_refinement_depth": "own-token refinement depth (layers)",
}
_TARGETS = ("refinement_depth", "own_token_refinement_depth")
_TOKENS = {"all": "all tokens", "first": "first tokens"}
_POPULATIONS = {"each_position": "each position's", "every_position": "same everywhere"}
_NO_CURVE = "No answer token is right at the last layer, or no context has two documents or more."
_ACCURACIES = {
    "first_token": "first answer tokens right",
    "answer_tokens": "all answer tokens right",
    "whole_answer": "whole answers right",
}
_LEVELS = {"closed_book": "closed book", "oracle": "oracle"}


def refinement_curve(table: pd.DataFrame) -> ChartType:
    """Return the headline chart: mean refinement depth against the gold document's relative position, with intervals.

    Brushing it sets the parameter ``brush``, and a click on the legend ``length``: the page hands them to all charts as
    ``shown_positions`` and ``shown_documents``.

    Args:
        table: of :func:`lenscore.analysis.curves.refinement_curve`.
    """
    placed = _placed(table, ["refinement_depth"])
    if placed.empty:
        return nothing(_NO_CURVE)
    brush = alt.selection_interval(name="brush", encodings=["x"])
    length = alt.selection_point(name="length", fields=["documents"], bind="legend")
    layers = line_layers(placed, _MEASURES["refinement_depth"], params=[brush, length])
    columns = 1 if curves_at_once(placed) == 1 else 2
    panel = alt.layer(*layers).properties(width=800 // columns, height=300)
    return with_filters(a_panel_a_curve(panel, placed, columns=columns, without=["shown_positions"]))


def depth_curves(table: pd.DataFrame) -> ChartType:
    """Return the layers of which refinement depth is the difference, and own-token refinement depth, against position.

    Args:
        table: of :func:`lenscore.analysis.curves.refinement_curve`.
    """
    placed = _placed(table, [measure for measure in _MEASURES if measure != "refinement_depth"])
    if placed.empty:
        return nothing(_NO_CURVE)
    columns = []
    for measure, part in placed.groupby("measure", sort=False):
        panel = alt.layer(*line_layers(placed, _MEASURES[str(measure)])).properties(width=235, height=160)
        columns.append(a_row_a_curve(panel, part.drop(columns="measure")))
    return with_filters(beside(*columns).resolve_scale(color="shared"))


def populations(table: pd.DataFrame) -> ChartType:
    """Return the curve for both targets, all tokens and first ones, each position's own tokens and the same ones.

    Args:
        table: of :func:`lenscore.analysis.curves.refinement_curve`.
    """
    placed = table.dropna(subset=["relative_position", "mean"])
    placed = placed[(placed["condition"] == "documents") & placed["measure"].isin(_TARGETS)]
    if placed.empty:
        return nothing(_NO_CURVE)
    placed = with_documents(with_curve_names(placed))
    rows = []
    for tokens, of_tokens in _TOKENS.items():
        pairs = []
        for measure in _TARGETS:
            part = placed[(placed["measure"] == measure) & (placed["tokens"] == tokens)]
            if part.empty:
                continue
            panel = alt.layer(*line_layers(placed, _MEASURES[measure])).properties(width=165, height=150)
            # A facet's panels share their axes: they are to be compared with one another.
            named = shown(part, *LINE_COLUMNS, "population").assign(
                over=part["population"].map(lambda name, tokens=of_tokens: f"{tokens},\n{_POPULATIONS[name]}")
            )
            pairs.append(a_panel_each(panel, named, by="over", columns=len(_POPULATIONS)))
        rows.append(beside(*pairs))
    return with_filters(stacked(*rows))


def accuracy_curve(table: pd.DataFrame) -> ChartType:
    """Return accuracy at the last layer against the gold document's position, controls as dashed lines.

    Args:
        table: of :func:`lenscore.analysis.curves.accuracy_curve`.
    """
    if table.empty:
        return nothing("No context was extracted.")
    # At the last layer every lens is the model.
    of_one_lens = with_documents(with_curve_names(table[table["lens"] == table["lens"].iloc[0]]))
    named = of_one_lens.assign(level=of_one_lens["condition"].map(_LEVELS))
    of_documents = named[named["condition"] == "documents"]
    columns = []
    for measure, title in _ACCURACIES.items():
        part = shown(named[named["measure"] == measure], *LINE_COLUMNS, "condition", "level").drop(columns="lens")
        curves = _on_condition("documents", line_layers(of_documents, title, percent=True))
        if (part["condition"] == "shuffled_gold").any():
            _, line, points = _on_condition("shuffled_gold", line_layers(of_documents, title, percent=True))
            curves += [line.mark_line(strokeWidth=1.5, strokeDash=[2, 3]), points.mark_point(size=20, opacity=1)]
        # Controls have no number of documents to be chosen by: that filter is the curves' alone.
        others = [name for name in FILTERS if name != "shown_documents"]
        layers = [filtered(layer, part, without=others) for layer in curves]
        if part["level"].notna().any():
            level = alt.Chart().transform_filter("isValid(datum.level)").encode(y=alt.Y("mean:Q", title=title))
            text = level.mark_text(align="right", dy=-6, fontSize=10, style=f"{QUIET}-text").encode(
                text="level:N", x=alt.value(235), tooltip=tooltips(title, percent=True)
            )
            rule = level.mark_rule(strokeDash=[5, 4], style=QUIET).encode(tooltip=tooltips(title, percent=True))
            layers += [rule, text]
        panel = alt.layer(*layers).properties(width=235, height=200)
        columns.append(a_row_a_curve(panel, part, without=["shown_documents"]))
    return with_filters(beside(*columns))


def _on_condition(condition: str, layers: list[alt.Chart]) -> list[alt.Chart]:
    test = f"datum.condition === '{condition}' && isValid(datum.relative_position)"
    return [layer.transform_filter(test) for layer in layers]


def _placed(table: pd.DataFrame, measures: list[str]) -> pd.DataFrame:
    """Return the headline's population of contexts with documents, measure by measure in the given order."""
    rows = table.dropna(subset=["relative_position", "mean"])
    rows = rows[
        (rows["condition"] == "documents")
        & (rows["tokens"] == HEADLINE.tokens)
        & (rows["population"] == HEADLINE.population)
        & rows["measure"].isin(measures)
    ]
    if rows.empty:
        return rows
    ordered = rows.sort_values("measure", key=lambda names: names.map(measures.index), kind="stable")
    return shown(with_documents(with_curve_names(ordered)), *LINE_COLUMNS, "measure")
