"""Charts of what moves with the gold document's position."""

import altair as alt
import pandas as pd
from altair.typing import ChartType

from lenscore.analysis.populations import HEADLINE
from lenscore.report.charts.parts import (
    document_order,
    line_layers,
    nothing,
    small_title,
    stacked,
    title_of,
    tooltips,
    with_curve_names,
    with_documents,
)  # fmt: skip

_MEASURES = {
    "refinement_depth": "refinement depth (layers)",
    "prediction_depth": "prediction depth (layers)",
    "first_correct_layer": "first-correct layer",
    "settled_layer": "settled layer",
}
_TARGETS = ("refinement_depth", "prediction_depth")
_TOKENS = {"all": "all tokens", "first": "first tokens"}
_POPULATIONS = {"each_position": "each position's", "every_position": "same everywhere"}
_NO_CURVE = "No answer token is right at the last layer, or no context has two documents or more."
_ACCURACIES = {
    "first_token": "first answer tokens right",
    "answer_tokens": "all answer tokens right",
    "whole_answer": "whole answers right",
}


def refinement_curve(table: pd.DataFrame) -> ChartType:
    """Return the headline chart: mean depths against the gold document's relative position, with intervals.

    Args:
        table: of :func:`lenscore.analysis.curves.refinement_curve`.
    """
    placed = table.dropna(subset=["relative_position", "mean"])
    placed = placed[
        (placed["condition"] == "documents")
        & (placed["tokens"] == HEADLINE.tokens)
        & (placed["population"] == HEADLINE.population)
    ]
    if placed.empty:
        return nothing(_NO_CURVE)
    placed = with_documents(with_curve_names(placed))
    curves = sorted(placed["curve"].unique())
    main = [
        _curve(placed, curve, "refinement_depth", _MEASURES, width=max(260, 600 // len(curves)), height=280)
        for curve in curves
    ]
    companions = [
        alt.hconcat(*[
            _curve(placed, curve, measure, _MEASURES, width=160, height=130)
            for measure in _MEASURES
            if measure != "refinement_depth"
        ])
        for curve in curves
    ]  # fmt: skip
    return stacked(alt.hconcat(*main).resolve_scale(y="shared"), *companions)


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
    curves = sorted(placed["curve"].unique())
    rows = []
    for tokens, of_tokens in _TOKENS.items():
        for curve in curves:
            pairs = []
            for measure in _TARGETS:
                panels = []
                for population, of_population in _POPULATIONS.items():
                    part = placed[
                        (placed["curve"] == curve)
                        & (placed["measure"] == measure)
                        & (placed["tokens"] == tokens)
                        & (placed["population"] == population)
                    ]
                    title = [f"{of_tokens}, {of_population}", *([curve] if len(curves) > 1 else [])]
                    layers = line_layers(part, _MEASURES[measure], order=document_order(placed))
                    panels.append(alt.layer(*layers).properties(width=135, height=150, title=small_title(title)))
                # To be compared with one another.
                pairs.append(alt.hconcat(*panels).resolve_scale(y="shared"))
            rows.append(alt.hconcat(*pairs))
    return stacked(*rows)


def accuracy_curve(table: pd.DataFrame) -> ChartType:
    """Return accuracy at the last layer against the gold document's position, controls as dashed lines.

    Args:
        table: of :func:`lenscore.analysis.curves.accuracy_curve`.
    """
    if table.empty:
        return nothing("No context was extracted.")
    # At the last layer every lens is the model.
    named = with_documents(with_curve_names(table[table["lens"] == table["lens"].iloc[0]]))
    shuffled = named[(named["condition"] == "shuffled_gold") & named["relative_position"].notna()]
    placed = named[(named["condition"] == "documents") & named["relative_position"].notna()]
    levels = {"closed_book": "closed book", "oracle": "oracle"}
    controls = named[named["condition"].isin(levels)].assign(control=lambda rows: rows["condition"].map(levels))
    rows = []
    for curve in sorted(named["curve"].unique()):
        panels = []
        for measure, title in _ACCURACIES.items():
            part = placed[(placed["measure"] == measure) & (placed["curve"] == curve)]
            layers = [] if part.empty else line_layers(part, title, percent=True)
            without = shuffled[(shuffled["measure"] == measure) & (shuffled["curve"] == curve)]
            if not without.empty:
                _, line, points = line_layers(without, title, percent=True, order=document_order(placed))
                layers += [line.mark_line(strokeWidth=1.5, strokeDash=[2, 3]), points.mark_point(size=20, opacity=1)]
            level = controls[(controls["measure"] == measure) & (controls["curve"] == curve)]
            if not level.empty:
                rule = alt.Chart(level).mark_rule(strokeDash=[5, 4], color="#777777").encode(y="mean:Q")
                text = (
                    alt.Chart(level)
                    .mark_text(align="right", dy=-6, color="#555555", fontSize=10)
                    .encode(text="control:N", y="mean:Q", x=alt.value(180), tooltip=tooltips(level, title))
                )
                layers += [rule, text]
            panels.append(alt.layer(*layers).properties(width=180, height=200, title=title_of(named, curve)))
        rows.append(alt.hconcat(*panels))
    return stacked(*rows)


def _curve(
    table: pd.DataFrame, curve: str, measure: str, titles: dict[str, str], *, width: int, height: int
) -> ChartType:
    """Return one panel: one measure of one curve name."""
    part = table[(table["curve"] == curve) & (table["measure"] == measure)]
    return alt.layer(*line_layers(part, titles[measure])).properties(
        width=width, height=height, title=title_of(table, curve)
    )
