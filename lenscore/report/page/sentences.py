"""The page's sentences: each says in words what one row of a table shows, and no more than that."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lenscore.report.names import (
    POPULATIONS,
    SCOPES,
    TARGETS,
    TOKENS,
    condition_name,
    curve_name,
    documents,
    lens_name,
    listed,
    model_name,
    questions,
)

Finding = Mapping[str, Any]

NO_CURVE = "No answer token is right at the last layer in a context with documents: there is no refinement depth."

_VERDICTS = {
    "inverted U": "an inverted U",
    "U": "a U",
    "rising": "rising",
    "falling": "falling",
    "flat": "flat",
    "undecided": "undecided",
}
# At this τ, three pairs of blocks in four are in the same order.
_STRONG = 0.5


def sentences_on(write: Callable[[Finding], str], rows: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return one sentence per row as ``words``, with the model, lens and number of documents that the page filters by.

    Args:
        write: makes the sentence of a row: one of the functions ``about_…``.
        rows: of its table.
    """
    return [
        {"words": write(row), **{key: row.get(key, "") for key in ("model", "lens", "n_documents")}} for row in rows
    ]


def verdict_sentences(shapes: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return one sentence per model, context set and lens, as :func:`sentences_on` does; one if there is no curve.

    Args:
        shapes: rows of the table ``shapes`` for the main curve.
    """
    grouped: dict[tuple[str, ...], list[Finding]] = {}
    for row in shapes:
        grouped.setdefault((row["model"], row["context_set"], row["lens"]), []).append(row)
    found = [
        {"words": about_verdicts(rows), "model": model, "lens": lens} for (model, _, lens), rows in grouped.items()
    ]
    return found or [{"words": NO_CURVE, "model": "", "lens": ""}]


def about_verdicts(shapes: Sequence[Finding]) -> str:
    """Return the sentence on the verdicts of one model, context set and lens (rows of the table ``shapes``)."""
    verdicts = listed([f"{_short_verdict(row)} with {documents(row['n_documents'])}" for row in shapes])
    name = f"{model_name(shapes[0])}{lens_name(shapes[0])}"
    return f"{name}: against the gold document's position, refinement depth is {verdicts}."


def _short_verdict(shape: Finding) -> str:
    if shape["verdict"] in ("inverted U", "U") and shape["supporting_tests"] < 3:
        side = "higher" if shape["verdict"] == "inverted U" else "lower"
        return f"{side} in the middle, though not shown to turn,"
    return {**_VERDICTS, "undecided": "of undecided shape"}[shape["verdict"]]


def about_shape(shape: Finding, settings: Finding) -> str:
    """Return the sentences on one curve of refinement depth (a row of the table ``shapes``).

    Args:
        shape: the row.
        settings: ``confidence`` and ``smallest_effect``.
    """
    extremes = (
        f"{curve_name(shape)}: refinement depth, over the {shape['n_tokens']} answer tokens, of "
        f"{questions(shape['n_questions'])}, that the last layer gets right, is least with the gold document at "
        f"relative position {shape['lowest_position']:.2f} ({shape['lowest']:.2f} layers) and greatest at "
        f"{shape['highest_position']:.2f} ({shape['highest']:.2f})."
    )
    if shape["middle"] is None:
        return f"{extremes} Its shape cannot be tested: {shape['reason']}."
    return f"{extremes} {_verdict(shape, settings)} {_evidence(shape, settings)}"


def _verdict(shape: Finding, settings: Finding) -> str:
    verdict = shape["verdict"]
    if verdict in ("inverted U", "U"):
        supporting = shape["supporting_tests"]
        if supporting == 3:
            return f"The curve is {_VERDICTS[verdict]}; all three tests of that shape say so."
        side = "above" if verdict == "inverted U" else "below"
        return (
            f"The middle lies {side} the ends (verdict: {verdict}), but only {supporting} of three tests of that shape "
            "say so: the curve is not shown to turn."
        )
    if verdict in ("rising", "falling"):
        return f"The curve is {verdict}: it tilts, and is not shown to turn."
    if verdict == "flat":
        return f"The curve is flat: bend and tilt are shown to be smaller than {settings['smallest_effect']:g} layers."
    return "The shape is undecided: the data show neither a bend or a tilt, nor that there is none."


def _evidence(shape: Finding, settings: Finding) -> str:
    middle, slope = shape["middle"], shape["slope"]
    return (
        f"The middle positions lie {abs(middle):.2f} layers {'above' if middle >= 0 else 'below'} the ends "
        f"({settings['confidence']:.0%} interval {_signed(shape['middle_low'])} to {_signed(shape['middle_high'])}, "
        f"{_p(shape['middle_p_holm'])}), and from first to last position the curve "
        f"{'rises' if slope >= 0 else 'falls'} by {abs(slope):.2f} ({_signed(shape['slope_low'])} to "
        f"{_signed(shape['slope_high'])}, {_p(shape['slope_p_holm'])}). A difference of middle and ends of "
        f"{shape['smallest_middle']:.2f} layers or more would be found in four of five such studies."
    )


def about_disagreement(finding: Finding) -> str:
    """Return the sentence on a curve whose variants have different verdicts (``findings.disagreements``)."""
    parts = []
    for verdict in finding["verdicts"]:
        variants = [
            f"{TARGETS[target]} ({TOKENS[tokens]}, {POPULATIONS[population]})"
            for target, tokens, population in verdict["ways"]
        ]
        parts.append(f"{_VERDICTS[verdict['verdict']]} for {listed(variants)}")
    return (
        f"{curve_name(finding)}: the verdict depends on which depth and which tokens are measured. The curve is "
        f"{'; '.join(parts)}."
    )


def about_orders(row: Finding) -> str:
    """Return the sentence on what the distractors' order does (a row of the table ``order_variance``)."""
    what, unit = {
        "refinement_depth": ("refinement depth", "layers"),
        "own_token_refinement_depth": ("own-token refinement depth", "layers"),
        "target_logprob": ("the answer token's log-probability at the last layer", "nats"),
    }[row["measure"]]
    return (
        f"{curve_name(row)}: moving the gold document moves {what} of a token by {row['sd_position']:.2f} {unit} "
        f"({row['sd_position_low']:.2f} to {row['sd_position_high']:.2f}, a standard deviation over "
        f"{row['n_positions']} positions); drawing the distractors' order anew moves it by {row['sd_order']:.2f} "
        f"({row['sd_order_low']:.2f} to {row['sd_order_high']:.2f}, over {row['n_orders']} orders)."
    )


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def about_layers(finding: Finding) -> str:
    """Return the sentence on the layers with the largest values of one observation (``findings.busiest_layers``)."""
    last = finding["n_layers"]
    layers = listed([f"{layer} ({_value(finding, value)})" for layer, value in _pairs(finding)])
    what = {
        "share_first_right": "most answer tokens first become right at layers",
        "share_settled": "most answer tokens settle at layers",
        "mean_rise": "the target's log-probability rises most at layers",
    }[finding["measure"]]
    return f"{model_name(finding)}{lens_name(finding)}: {what} {layers}, of {last}."


def about_cause(row: Finding, settings: Finding) -> str:
    """Return the sentence on whether a lens points to the blocks that matter (a row of ``lens_against_cause``)."""
    observation = {
        "mean_rise": "how much the target's log-probability rises at their outputs",
        "share_settled": "how many answer tokens settle at their outputs",
        "share_first_right": "how many answer tokens first become right at their outputs",
    }[row["observation"]]
    change = {"skip": "skipping a block", "mean": "replacing a block's contribution by its mean"}[row["replacement"]]
    where = SCOPES[row["scope"]]
    cost = {"logprob_drop": "log-probability", "accuracy_drop": "accuracy"}[row["cause"]]
    start = (
        f"{model_name(row)}: over the {row['n_blocks']} blocks and {questions(row['n_questions'])}, the order by "
        f"{observation} in the {row['lens']} lens"
    )
    if any(row[key] is None for key in ("tau", "low", "high", "tau_without_first", "p_corrected")):
        return f"{start} cannot be compared with the order by what {change} {where} costs in {cost}: one has only ties."
    without = row["tau_without_first"]
    tau = (
        f"τ = {_signed(row['tau'])} ({_signed(row['low'])} to {_signed(row['high'])}); without block 1, "
        f"τ = {_signed(without)} (corrected {_p(row['p_corrected'])}, over shifts of the blocks)"
    )
    if row["p_corrected"] > 1 - settings["confidence"]:
        says = (
            f"is not shown to agree with the order by what {change} {where} costs in {cost}: {tau}. The lens is not "
            "shown to point to the blocks that matter"
        )
    elif without > 0:
        part = "" if row["low"] >= _STRONG and without >= _STRONG else ", but only in part"
        says = (
            f"agrees with the order by what {change} {where} costs in {cost}: {tau}. The lens points to the blocks "
            f"that matter{part}"
        )
    else:
        says = (
            f"runs against the order by what {change} {where} costs in {cost}: {tau}. The lens points away from the "
            "blocks that matter"
        )
    return f"{start} {says}."


def about_coverage(coverage: Sequence[Finding]) -> list[str]:
    """Return sentences on what was cut, skipped or left out; none where all contexts were read whole."""
    sentences = []
    for row in coverage:
        where = f"{row['model']}, {row['context_set']}, {condition_name(row)}"
        if row["n_cut"]:
            sentences.append(
                f"{where}: documents were cut in {row['n_cut']} of {row['n_contexts']} contexts to fit the model's "
                f"window, by {row['mean_tokens_cut']:.0f} tokens on average."
            )
        if row["n_skipped"]:
            sentences.append(
                f"{where}: {row['n_skipped']} of {row['n_contexts']} contexts, of "
                f"{questions(row['n_questions_skipped'])}, were skipped because they do not fit the model's window."
            )
    for context_set, count in sorted({(row["context_set"], row["n_questions_left_out"]) for row in coverage}):
        if count:
            sentences.append(
                f"{context_set}: {questions(count)} left out, because no accepted answer occurs in the gold document."
            )
    answers = {(row["context_set"], row["n_distractors_with_answer"], row["n_distractors_dropped"]) for row in coverage}
    for context_set, kept, dropped in sorted(answers):
        if kept or dropped:
            what = f"{kept} that are kept" if kept else f"{dropped} that were dropped"
            sentences.append(
                f"{context_set}: of the dataset's own distractors, {what} hold an accepted answer "
                f"(answer_in_distractors: {'keep' if kept else 'drop'})."
            )
    return sentences


def _pairs(finding: Finding) -> list[tuple[int, float]]:
    return [(layer, value) for layer, value in zip(finding["layers"], finding["values"], strict=True) if value > 0]


def _value(finding: Finding, value: float) -> str:
    return f"{value:+.2f} nats" if finding["measure"] == "mean_rise" else f"{value:.0%}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
