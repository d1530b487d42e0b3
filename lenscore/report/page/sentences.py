"""What the numbers say, in words: whatever it is, and no more than that."""

from collections.abc import Mapping, Sequence
from typing import Any

Finding = Mapping[str, Any]


WAYS = {
    "refinement_depth": "refinement depth",
    "own_token_refinement_depth": "own-token refinement depth",
    "all": "all tokens",
    "first": "first tokens",
    "each_position": "each position's own",
    "every_position": "the same everywhere",
}
_VERDICTS = {
    "inverted U": "an inverted U",
    "U": "a U",
    "rising": "rising",
    "falling": "falling",
    "flat": "flat",
    "undecided": "undecided",
}
_SCOPES = {"all": "at every token", "answer": "at the answer alone"}
# From this τ on, three pairs of blocks in four stand in the same order.
_WELL = 0.5


def about_verdicts(shapes: Sequence[Finding]) -> str:
    """Return the verdicts in short on the curves of one model, context set and lens (rows of the table ``shapes``)."""
    said = listed([f"{_short_verdict(row)} with {_documents(row['n_documents'])}" for row in shapes])
    name = f"{_model_name(shapes[0])}{_lens_name(shapes[0])}"
    return f"{name}: against the gold document's position, refinement depth is {said}."


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
    seen = (
        f"{curve_name(shape)}: refinement depth, over the {shape['n_tokens']} answer tokens, of "
        f"{_questions(shape['n_questions'])}, that the last layer gets right, is least with the gold document at "
        f"relative position {shape['lowest_position']:.2f} ({shape['lowest']:.2f} layers) and greatest at "
        f"{shape['highest_position']:.2f} ({shape['highest']:.2f})."
    )
    if shape["middle"] is None:
        return f"{seen} Its shape cannot be tested: {shape['reason']}."
    return f"{seen} {_verdict(shape, settings)} {_evidence(shape, settings)}"


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
        f"{shape['smallest_middle']:.2f} layers or more would have been found in four studies of five."
    )


def about_disagreement(finding: Finding) -> str:
    """Return the sentence on a curve whose verdict depends on the way of asking (``shapes.disagreements``)."""
    parts = []
    for verdict in finding["verdicts"]:
        ways = [f"{WAYS[way[0]]} ({WAYS[way[1]]}, {WAYS[way[2]]})" for way in verdict["ways"]]
        parts.append(f"{_VERDICTS[verdict['verdict']]} for {listed(ways)}")
    return f"{curve_name(finding)}: the verdict depends on the question. The curve is {'; '.join(parts)}."


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


def curve_name(row: Finding) -> str:
    """Return what a curve is called: model and number of documents; context set and lens if not the usual ones."""
    return f"{_model_name(row)}, {_documents(row['n_documents'])}{_lens_name(row)}"


def _lens_name(row: Finding) -> str:
    return "" if row["lens"] == "logit" else f", {row['lens']} lens"


def listed(parts: Sequence[str], last: str = "and") -> str:
    """Return the parts as a list in words; ``last`` stands before the last one."""
    if len(parts) < 2:
        return parts[0] if parts else "none"
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def ablation_name(row: Finding) -> str:
    """Return what is done to a block, where its scope and replacement are given."""
    done = {"skip": "when the block is skipped", "mean": "when the block adds its mean"}[row["replacement"]]
    return f"{done} {_SCOPES[row['scope']]}"


def _model_name(row: Finding) -> str:
    return str(row["model"]) + ("" if row["context_set"] == "main" else f", {row['context_set']}")


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def about_layers(finding: Finding) -> str:
    """Return the sentence on the layers that do most by one observation (``findings.busiest_layers``)."""
    last = finding["n_layers"]
    layers = listed([f"{layer} ({_value(finding, value)})" for layer, value in _pairs(finding)])
    what = {
        "share_first_right": "Most answer tokens first become right at layers",
        "share_settled": "Most settle at layers",
        "mean_rise": "The target's log-probability rises most at layers",
    }[finding["measure"]]
    return f"{_model_name(finding)}{_lens_name(finding)}: {what} {layers}, of {last}."


def about_cause(row: Finding) -> str:
    """Return the sentence on whether a lens points at the blocks that matter (a row of ``lens_against_cause``)."""
    seen = {
        "mean_rise": "how much the target's log-probability rises at their outputs",
        "share_settled": "how many answer tokens settle at their outputs",
        "share_first_right": "how many answer tokens first become right at their outputs",
    }[row["observation"]]
    act = {"skip": "skipping a block", "mean": "replacing a block's contribution by its mean"}[row["replacement"]]
    where = _SCOPES[row["scope"]]
    cost = {"logprob_drop": "log-probability", "accuracy_drop": "accuracy"}[row["cause"]]
    start = (
        f"{_model_name(row)}: over the {row['n_blocks']} blocks and {_questions(row['n_questions'])}, the order by "
        f"{seen} in the {row['lens']} lens"
    )
    if any(row[key] is None for key in ("tau", "low", "high")):
        return f"{start} cannot be compared with the order by what {act} {where} costs in {cost}: one has only ties."
    tau = f"τ = {_signed(row['tau'])} ({_signed(row['low'])} to {_signed(row['high'])})"
    if row["low"] > 0:
        part = "the lens points to the blocks that matter" + ("" if row["low"] >= _WELL else ", but only in part")
        says = f"agrees with the order by what {act} {where} costs in {cost}, by {tau}: {part}"
    elif row["high"] < 0:
        says = (
            f"runs against the order by what {act} {where} costs in {cost}, by {tau}: the lens points away from the "
            "blocks that matter"
        )
    else:
        says = (
            f"is not shown to agree with the order by what {act} {where} costs in {cost} ({tau}): the lens is not "
            "shown to point to the blocks that matter"
        )
    return f"{start} {says}."


def about_coverage(coverage: Sequence[Finding]) -> list[str]:
    """Return sentences on what was cut, skipped or left out; none where all contexts were read whole."""
    sentences = []
    for row in coverage:
        where = f"{row['model']}, {row['context_set']}, {_condition(row)}"
        if row["n_cut"]:
            sentences.append(
                f"{where}: documents were cut in {row['n_cut']} of {row['n_contexts']} contexts to fit the model's "
                f"window, by {row['mean_tokens_cut']:.0f} tokens on average."
            )
        if row["n_skipped"]:
            sentences.append(
                f"{where}: {row['n_skipped']} of {row['n_contexts']} contexts, of "
                f"{_questions(row['n_questions_skipped'])}, were skipped because they do not fit the model's window."
            )
    for context_set, count in sorted({(row["context_set"], row["n_questions_left_out"]) for row in coverage}):
        if count:
            sentences.append(
                f"{context_set}: {_questions(count)} left out, because no accepted answer stands in the gold document."
            )
    return sentences


def no_curve() -> str:
    """Return what is said where there is no curve."""
    return "No answer token is right at the last layer in a context with documents: there is no refinement depth."


def _pairs(finding: Finding) -> list[tuple[int, float]]:
    return [(layer, value) for layer, value in zip(finding["layers"], finding["values"], strict=True) if value > 0]


def _value(finding: Finding, value: float) -> str:
    return f"{value:+.2f} nats" if finding["measure"] == "mean_rise" else f"{value:.0%}"


def _documents(count: int) -> str:
    return f"{count} document{'s' * (count != 1)}"


def _questions(count: int) -> str:
    return f"{count} question{'s' * (count != 1)}"


def _condition(row: Finding) -> str:
    documents = _documents(row["n_documents"])
    names = {"closed_book": "closed book", "oracle": "oracle", "shuffled_gold": f"shuffled gold among {documents}"}
    return names.get(row["condition"], documents)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
