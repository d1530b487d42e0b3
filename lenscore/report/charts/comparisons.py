"""Charts that compare means: with controls, and between groups of answer tokens."""

import altair as alt
import pandas as pd
from altair.typing import ChartType

from lenscore.report.charts.parts import (
    DEPTHS,
    DOCUMENTS_POOLED,
    chart_data,
    curve_order,
    document_order,
    documents_colour,
    empty_chart,
    filtered,
    row_per_curve,
    side_by_side,
    stacked,
    with_curve_names,
    with_document_labels,
    with_filters,
)
from lenscore.report.charts.theme import MUTED, QUIET
from lenscore.report.names import CONTROLS

_DIFFERENCES = {
    "accuracy": "answer tokens right",
    "target_logprob": "log p of the answer token (nats)",
    **{depth: DEPTHS[depth] for depth in ("own_token_refinement_depth", "refinement_depth")},
}
_GROUPINGS = {
    "frequency_band": "frequency of the token",
    "token_class": "class of the token",
    "place_in_answer": "place in the answer",
    "answer_kind": "kind of answer",
}
_GROUP_MEASURES = {
    "accuracy": "right at layer L",
    **{depth: DEPTHS[depth] for depth in ("settled_layer", "refinement_depth")},
    "lost_again": "right, then lost again",
}
_SHARES = ("accuracy", "lost_again")


def controls(table: pd.DataFrame) -> ChartType:
    """Return how far contexts with documents lie above or below each control, with intervals.

    Args:
        table: of :func:`lenscore.analysis.controls.controls`.
    """
    if table.empty:
        return empty_chart("The study has no controls: set controls in a context set.")
    named = with_document_labels(with_curve_names(table)).assign(label=lambda rows: rows["control"].map(CONTROLS))
    order = [label for control, label in CONTROLS.items() if control in set(named["control"])]
    columns: list[ChartType] = []
    for measure, title in _DIFFERENCES.items():
        part = chart_data(
            named[named["measure"] == measure], "model", "lens", "n_documents", "curve", "documents", "label", "mean",
            "control_mean", "difference", "low", "high", "n_tokens",
        )  # fmt: skip
        lines = title.split("\n")
        axis = alt.Axis(format="+%" if measure == "accuracy" else "+.2~f", tickCount=4, labelFlush=False)
        base = alt.Chart().encode(
            y=alt.Y("label:N", title=None, sort=order, axis=alt.Axis() if not columns else None),
            yOffset=alt.YOffset("documents:N", sort=document_order(named)),
            color=documents_colour(named, "documents minus control"),
            tooltip=["curve:N", alt.Tooltip("documents:N", title="context"), alt.Tooltip("label:N", title="control"),
                     alt.Tooltip("mean:Q", title="with the gold document", format=".3f"),
                     alt.Tooltip("control_mean:Q", title="control", format=".3f"),
                     alt.Tooltip("difference:Q", format="+.3f"),
                     alt.Tooltip("low:Q", title="interval from", format="+.3f"),
                     alt.Tooltip("high:Q", title="to", format="+.3f"),
                     alt.Tooltip("n_tokens:Q", title="answer tokens")],
        )  # fmt: skip
        x = alt.X("difference:Q", title=lines, axis=axis, scale=alt.Scale(zero=True))
        zero = alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(style=QUIET).encode(x=alt.X("x:Q", title=lines))
        spans = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=lines, axis=axis), x2="high:Q")
        points = base.mark_point(filled=True, size=45, opacity=1).encode(x=x)
        panel = alt.layer(zero, spans, points).properties(width=180, height=130)
        columns.append(row_per_curve(panel, part))
    return with_filters(side_by_side(*columns).resolve_scale(color="shared"))


def depth_by_group(table: pd.DataFrame) -> ChartType:
    """Return accuracy, depths and flips by frequency and class of the token, place in the answer, kind of answer.

    Args:
        table: of :func:`lenscore.analysis.groups.depth_by_group`.
    """
    rows = table[table["grouping"].isin(_GROUPINGS) & table["measure"].isin(_GROUP_MEASURES)].dropna(subset=["mean"])
    if rows.empty:
        return empty_chart("No context with documents was extracted.")
    named = with_document_labels(with_curve_names(rows))
    curves = curve_order(named)
    shapes = alt.Legend(orient="top", columns=1, symbolSize=50, symbolStrokeWidth=0) if len(curves) > 1 else None
    stack = []
    for grouping, heading in _GROUPINGS.items():
        of_grouping = named[named["grouping"] == grouping]
        groups = list(dict.fromkeys(of_grouping["group"]))
        panels: list[ChartType] = []
        for measure, title in _GROUP_MEASURES.items():
            part = chart_data(
                of_grouping[of_grouping["measure"] == measure],
                "model", "lens", "n_documents", "curve", "documents", "group", "mean", "low", "high", "n_tokens",
                "n_questions",
            )  # fmt: skip
            part = part.assign(offset=part["curve"] + ", " + part["documents"])
            axis = alt.Axis(format="%" if measure in _SHARES else ".2~f", tickCount=4)
            number = ".1%" if measure in _SHARES else ".3f"
            base = alt.Chart().encode(
                y=alt.Y("group:N", title=heading, sort=groups, axis=alt.Axis() if not panels else None),
                yOffset=alt.YOffset("offset:N", sort=list(dict.fromkeys(part["offset"]))),
                tooltip=["curve:N", alt.Tooltip("documents:N", title="context"), "group:N",
                         alt.Tooltip("mean:Q", title=title, format=number),
                         alt.Tooltip("low:Q", title="interval from", format=number),
                         alt.Tooltip("high:Q", title="to", format=number),
                         alt.Tooltip("n_tokens:Q", title="answer tokens"),
                         alt.Tooltip("n_questions:Q", title="questions")],
            )  # fmt: skip
            low = alt.X("low:Q", title=title, axis=axis)
            mean = alt.X("mean:Q", title=title, axis=axis, scale=alt.Scale(zero=measure != "settled_layer", nice=True))
            shape = alt.Shape("curve:N", title=None, sort=curves, scale=alt.Scale(domain=curves), legend=shapes)
            # The mean over all contexts belongs to no number of documents, so it has none of their colours.
            coloured = base.encode(
                color=alt.when("isValid(datum.n_documents)")
                .then(documents_colour(named).legend(None))
                .otherwise(alt.value(MUTED))
            )
            layers = [
                coloured.mark_rule(strokeWidth=2).encode(x=low, x2="high:Q"),
                coloured.mark_point(filled=True, size=45, opacity=1).encode(x=mean, shape=shape),
            ]
            panel = filtered(alt.layer(*layers, data=part), part).transform_filter(DOCUMENTS_POOLED)
            panels.append(panel.properties(width=170, height=max(60, 26 * len(groups))))
        stack.append(side_by_side(*panels).resolve_scale(y="shared"))
    return with_filters(stacked(*stack))
