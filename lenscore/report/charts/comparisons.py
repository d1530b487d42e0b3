"""Charts that set means beside one another: controls, and groups of answer tokens."""

import altair as alt
import pandas as pd
from altair.typing import ChartType

from lenscore.report.charts.parts import document_order, nothing, stacked, title_of, with_curve_names, with_documents

_CONTROLS = {"closed_book": "closed book", "shuffled_gold": "shuffled gold", "oracle": "oracle"}
_DIFFERENCES = {
    "accuracy": "answer tokens right",
    "target_logprob": "log p of the answer token (nats)",
    "prediction_depth": "prediction depth (layers)",
    "refinement_depth": "refinement depth (layers)",
}
_GROUPINGS = {
    "frequency_band": "frequency of the token",
    "place_in_answer": "place in the answer",
    "answer_kind": "kind of answer",
}
_GROUP_MEASURES = {
    "accuracy": "right at layer L",
    "settled_layer": "settled layer",
    "refinement_depth": "refinement depth (layers)",
    "lost_again": "right, then lost again",
}
_SHARES = ("accuracy", "lost_again")


def controls(table: pd.DataFrame) -> ChartType:
    """Return how far contexts with documents lie above or below each control, with intervals.

    Args:
        table: of :func:`lenscore.analysis.controls.controls`.
    """
    if table.empty:
        return nothing("The study has no controls: set controls in a context set.")
    named = with_documents(with_curve_names(table)).assign(label=lambda rows: rows["control"].map(_CONTROLS))
    order = [label for control, label in _CONTROLS.items() if control in set(named["control"])]
    rows = []
    for curve in sorted(named["curve"].unique()):
        panels = []
        for measure, title in _DIFFERENCES.items():
            part = named[(named["curve"] == curve) & (named["measure"] == measure)]
            axis = alt.Axis(format="+%" if measure == "accuracy" else "+.2~f", tickCount=4, labelFlush=False)
            base = alt.Chart(part).encode(
                y=alt.Y("label:N", title=None, sort=order, axis=alt.Axis() if measure == "accuracy" else None),
                yOffset=alt.YOffset("documents:N", sort=document_order(named)),
                color=alt.Color(
                    "documents:N", title="documents less control", sort=document_order(named),
                    legend=alt.Legend(orient="top"),
                ),
                tooltip=["curve", "documents", alt.Tooltip("label", title="control"),
                         alt.Tooltip("mean", title="with the gold document", format=".3f"),
                         alt.Tooltip("control_mean", title="control", format=".3f"),
                         alt.Tooltip("difference", format="+.3f"), alt.Tooltip("low", format="+.3f"),
                         alt.Tooltip("high", format="+.3f"), alt.Tooltip("n_tokens", title="answer tokens")],
            )  # fmt: skip
            x = alt.X("difference:Q", title=title, axis=axis, scale=alt.Scale(zero=True))
            zero = alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(color="#888888").encode(x=alt.X("x:Q", title=title))
            spans = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=title, axis=axis), x2="high:Q")
            points = base.mark_point(filled=True, size=45, opacity=1).encode(x=x)
            panels.append(
                alt.layer(zero, spans, points).properties(width=150, height=130, title=title_of(named, curve))
            )
        rows.append(alt.hconcat(*panels))
    return stacked(*rows)


def depth_by_group(table: pd.DataFrame) -> ChartType:
    """Return accuracy, depths and flips by frequency of the token, place in the answer and kind of answer.

    Args:
        table: of :func:`lenscore.analysis.groups.depth_by_group`.
    """
    shown = table[table["grouping"].isin(_GROUPINGS) & table["measure"].isin(_GROUP_MEASURES)].dropna(subset=["mean"])
    if shown.empty:
        return nothing("No context with documents was extracted.")
    named = with_curve_names(shown)
    curves = sorted(named["curve"].unique())
    legend = alt.Legend(orient="top") if len(curves) > 1 else None
    rows = []
    for grouping, heading in _GROUPINGS.items():
        of_grouping = named[named["grouping"] == grouping]
        groups = list(dict.fromkeys(of_grouping["group"]))
        panels = []
        for measure, title in _GROUP_MEASURES.items():
            part = of_grouping[of_grouping["measure"] == measure]
            axis = alt.Axis(format="%" if measure in _SHARES else ".2~f", tickCount=4)
            base = alt.Chart(part).encode(
                y=alt.Y("group:N", title=heading, sort=groups, axis=alt.Axis() if measure == "accuracy" else None),
                yOffset=alt.YOffset("curve:N", sort=curves),
                color=alt.Color("curve:N", title=None, sort=curves, legend=legend),
                tooltip=["curve", "group", alt.Tooltip("mean", format=".3f"), alt.Tooltip("low", format=".3f"),
                         alt.Tooltip("high", format=".3f"), alt.Tooltip("n_tokens", title="answer tokens"),
                         alt.Tooltip("n_questions", title="questions")],
            )  # fmt: skip
            scale = alt.Scale(zero=measure != "settled_layer", nice=True)
            spans = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=title, axis=axis), x2="high:Q")
            points = base.mark_point(filled=True, size=45, opacity=1).encode(
                x=alt.X("mean:Q", title=title, axis=axis, scale=scale)
            )
            panels.append(alt.layer(spans, points).properties(width=140, height=max(60, 26 * len(groups))))
        rows.append(alt.hconcat(*panels).resolve_scale(y="shared"))
    return stacked(*rows)
