"""Charts of what moves with the gold document's position."""

import altair as alt
import pandas as pd
from altair.typing import ChartType

from lenscore.analysis.measures import MEASURES, TARGETS
from lenscore.report.charts.parts import (
    DEPTHS,
    FILTERS,
    LINE_COLUMNS,
    chart_data,
    document_order,
    empty_chart,
    filtered,
    line_layers,
    most_curves_of_a_lens,
    panel_per_curve,
    panel_per_curve_and_value,
    row_per_curve,
    side_by_side,
    stacked,
    tooltips,
    with_curve_names,
    with_document_labels,
    with_filters,
)  # fmt: skip
from lenscore.report.charts.theme import MUTED, QUIET
from lenscore.report.names import CONTROLS, POPULATIONS, TOKENS

_NO_CURVE = "No answer token is right at the last layer, or no context has two documents or more."
_ACCURACIES = {
    "first_token": "first tokens right",
    "answer_tokens": "all answer tokens right",
    "whole_answer": "whole answers right",
}
# By row: depths of the answer's token, and of the model's own token and distribution.
_OTHER = (
    ["soft_depth", "refinement_depth_top5", "refinement_depth_top10"],
    ["own_token_soft_depth", "prediction_depth", "jsd_settled_layer"],
)
# The controls without a position: lines across the chart.
_LEVELS = ("closed_book", "oracle")


def refinement_curve(table: pd.DataFrame) -> ChartType:
    """Return the headline chart: the primary measure against the gold document's relative position, with intervals.

    A brush over it sets the parameter ``brush``, and a click on its legend ``picked_documents``. The page passes them
    on to all charts as ``shown_positions`` and ``shown_documents``.

    Args:
        table: of :func:`lenscore.analysis.curves.refinement_curve`.
    """
    measures = table.loc[table["primary"], "measure"].unique()
    placed = _placed(table, list(measures))
    if placed.empty:
        return empty_chart(_NO_CURVE)
    brush = alt.selection_interval(name="brush", encodings=["x"])
    picked = alt.selection_point(name="picked_documents", fields=["documents"], bind="legend")
    layers = line_layers(placed, DEPTHS[measures[0]], params=[brush, picked])
    columns = 1 if most_curves_of_a_lens(placed) == 1 else 2
    panel = alt.layer(*layers).properties(width=800 // columns, height=300)
    return with_filters(panel_per_curve(panel, placed, columns=columns, without=["shown_positions"]))


def depth_shares(table: pd.DataFrame) -> ChartType:
    """Return the primary measure as a share of each model's layers L: a panel a number of documents, a line a model.

    So models of different depths stand on one axis.

    Args:
        table: of :func:`lenscore.analysis.curves.refinement_curve`.
    """
    measures = table.loc[table["primary"], "measure"].unique()
    ends = ("mean", "low", "high")
    placed = _placed(table.assign(**{end: table[f"{end}_share"] for end in ends}), list(measures))
    if placed.empty:
        return empty_chart(_NO_CURVE)
    # Lenses by dashes, not by colours: the colours that can be told apart are few.
    of_one_lens = with_curve_names(table.assign(lens="")).loc[placed.index, "curve"]
    placed = placed.assign(drawn=of_one_lens)
    names, lenses = sorted(placed["drawn"].unique()), sorted(placed["lens"].unique())
    colour = alt.Color(
        "drawn:N", title=None, sort=names, scale=alt.Scale(domain=names),
        legend=alt.Legend(orient="top", columns=1, symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1),
    )  # fmt: skip
    dash_legend = alt.Legend(
        orient="top",
        columns=1,
        labelExpr="datum.label + ' lens'",
        symbolType="stroke",
        symbolStrokeColor=MUTED,
        symbolSize=300,
    )
    dashes = alt.StrokeDash(
        "lens:N", title=None, sort=lenses, scale=alt.Scale(domain=lenses),
        legend=dash_legend if len(lenses) > 1 else None,
    )  # fmt: skip
    title = f"{MEASURES[measures[0]].words}\n(share of the model's layers)"
    band, line, points = line_layers(placed, title, percent=True, colour=colour)
    lengths = document_order(placed)
    layers = alt.layer(band.encode(detail="lens:N"), line.encode(strokeDash=dashes), points)
    panel = layers.properties(width=800 if len(lengths) == 1 else 330, height=200)
    facet = alt.Facet("documents:N", title=None, sort=lengths, header=alt.Header(labelAnchor="start", labelPadding=4))
    return with_filters(filtered(panel.facet(facet, data=placed, columns=2), placed))


def depth_curves(table: pd.DataFrame) -> ChartType:
    """Return the settled and first-correct layers and own-token refinement depth, against position.

    Args:
        table: of :func:`lenscore.analysis.curves.refinement_curve`.
    """
    placed = _placed(table, ["first_correct_layer", "settled_layer", "own_token_refinement_depth"])
    return with_filters(_column_per_measure(placed)) if len(placed) else empty_chart(_NO_CURVE)


def other_measures(table: pd.DataFrame) -> ChartType:
    """Return the other measures of depth against position: soft, at top 5 and 10, by the model's own distribution.

    Args:
        table: of :func:`lenscore.analysis.curves.refinement_curve`.
    """
    rows = [placed for measures in _OTHER if len(placed := _placed(table, measures))]
    if not rows:
        return empty_chart(_NO_CURVE)
    return with_filters(stacked(*map(_column_per_measure, rows)))


def _column_per_measure(placed: pd.DataFrame) -> ChartType:
    columns = []
    for measure, part in placed.groupby("measure", sort=False):
        panel = alt.layer(*line_layers(placed, DEPTHS[str(measure)])).properties(width=235, height=160)
        columns.append(row_per_curve(panel, part.drop(columns="measure")))
    row: alt.HConcatChart = side_by_side(*columns).resolve_scale(color="shared")
    return row


def populations(table: pd.DataFrame) -> ChartType:
    """Return the curve for both depths, every choice of an answer's tokens, and every population.

    Args:
        table: of :func:`lenscore.analysis.curves.refinement_curve`.
    """
    placed = table.dropna(subset=["relative_position", "mean"])
    placed = placed[(placed["condition"] == "documents") & placed["measure"].isin(TARGETS)]
    if placed.empty:
        return empty_chart(_NO_CURVE)
    placed = with_document_labels(with_curve_names(placed))
    rows = []
    for tokens, of_tokens in TOKENS.items():
        pairs = []
        for measure in TARGETS:
            part = placed[(placed["measure"] == measure) & (placed["tokens"] == tokens)]
            if part.empty:
                continue
            panel = alt.layer(*line_layers(placed, DEPTHS[measure])).properties(width=165, height=120)
            # One facet, so that its panels share their axes and can be compared.
            named = chart_data(part, *LINE_COLUMNS, "population").assign(
                over=part["population"].map(lambda name, tokens=of_tokens: f"{tokens},\n{POPULATIONS[name]}")
            )
            named = named.sort_values("population", key=lambda names: names.map(list(POPULATIONS).index), kind="stable")
            pairs.append(panel_per_curve_and_value(panel, named, by="over", columns=2))
        rows.append(side_by_side(*pairs))
    return with_filters(stacked(*rows))


def accuracy_curve(table: pd.DataFrame) -> ChartType:
    """Return accuracy at the last layer against the gold document's position, controls as dashed lines.

    Args:
        table: of :func:`lenscore.analysis.curves.accuracy_curve`.
    """
    if table.empty:
        return empty_chart("No context was extracted.")
    # At the last layer every lens is the model.
    of_one_lens = with_document_labels(with_curve_names(table[table["lens"] == table["lens"].iloc[0]]))
    named = of_one_lens.assign(level=of_one_lens["condition"].map({name: CONTROLS[name] for name in _LEVELS}))
    of_documents = named[named["condition"] == "documents"]
    columns = []
    for measure, title in _ACCURACIES.items():
        part = chart_data(named[named["measure"] == measure], *LINE_COLUMNS, "condition", "level").drop(columns="lens")
        curves = _on_condition("documents", line_layers(of_documents, title, percent=True))
        if (part["condition"] == "shuffled_gold").any():
            _, line, points = _on_condition("shuffled_gold", line_layers(of_documents, title, percent=True))
            curves += [line.mark_line(strokeWidth=1.5, strokeDash=[2, 3]), points.mark_point(size=20, opacity=1)]
        # Only the curves take the filter by number of documents: the level lines have none.
        others = [name for name in FILTERS if name != "shown_documents"]
        layers = [filtered(layer, part, without=others) for layer in curves]
        if part["level"].notna().any():
            level = alt.Chart().transform_filter("isValid(datum.level)").encode(y=alt.Y("mean:Q", title=[title]))
            text = level.mark_text(align="right", dy=-6, fontSize=10, style=f"{QUIET}-text").encode(
                text="level:N", x=alt.value(235), tooltip=tooltips(title, percent=True)
            )
            rule = level.mark_rule(strokeDash=[5, 4], style=QUIET).encode(tooltip=tooltips(title, percent=True))
            layers += [rule, text]
        panel = alt.layer(*layers).properties(width=235, height=200)
        columns.append(row_per_curve(panel, part, without=["shown_documents"]))
    return with_filters(side_by_side(*columns))


def _on_condition(condition: str, layers: list[alt.Chart]) -> list[alt.Chart]:
    test = f"datum.condition === '{condition}' && isValid(datum.relative_position)"
    return [layer.transform_filter(test) for layer in layers]


def _placed(table: pd.DataFrame, measures: list[str]) -> pd.DataFrame:
    """Return the primary analysis's tokens in contexts with documents, measure by measure in the given order."""
    rows = table.dropna(subset=["relative_position", "mean"])
    rows = rows[(rows["condition"] == "documents") & rows["primary_tokens"] & rows["measure"].isin(measures)]
    if rows.empty:
        return rows
    ordered = rows.sort_values("measure", key=lambda names: names.map(measures.index), kind="stable")
    return chart_data(with_document_labels(with_curve_names(ordered)), *LINE_COLUMNS, "measure")
