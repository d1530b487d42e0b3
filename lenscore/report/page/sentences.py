"""The page's sentences: each says in words what one row of a table shows, and no more than that."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lenscore.report.names import (
    MEASURE_NAMES,
    POPULATIONS,
    SCOPES,
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

NO_CURVE = "The primary analysis has no curve: no answer token that it asks about is right in contexts with documents."

_FORMS = {
    "inverted U": "an inverted U",
    "U": "a U",
    "rising": "rising",
    "falling": "falling",
    "primacy step up": "higher at the first position alone",
    "primacy step down": "lower at the first position alone",
    "recency step up": "higher at the last position alone",
    "recency step down": "lower at the last position alone",
}
# Of the table ``order_variance``, the measures that the page has a sentence on, with their units.
ORDER_MEASURES = {
    **{name: (MEASURE_NAMES[name], "layers") for name in ("refinement_depth", "own_token_refinement_depth")},
    "target_logprob": ("the answer token's log-probability at the last layer", "nats"),
}
# At this τ, three pairs of blocks in four are in the same order.
_STRONG = 0.5
# Ways of asking that a sentence names one by one.
_FEW_WAYS = 3


def sentences_on(write: Callable[[Finding], str], rows: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return one sentence per row as ``words``, with the model, lens and number of documents that the page filters by.

    Args:
        write: makes the sentence of a row: one of the functions ``about_…``.
        rows: of its table.
    """
    return [
        {"words": write(row), **{key: row.get(key, "") for key in ("model", "lens", "n_documents")}} for row in rows
    ]


def verdict_sentences(shapes: Iterable[Finding], without_curve: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Return one sentence per model, context set and lens, as :func:`sentences_on` does; one if there is no curve.

    Args:
        shapes: rows of the table ``shapes`` for the main curve.
        without_curve: the sentences on models that have none; they come last.
    """
    grouped: dict[tuple[str, ...], list[Finding]] = {}
    for row in shapes:
        grouped.setdefault((row["model"], row["context_set"], row["lens"]), []).append(row)
    found = [
        {"words": about_verdicts(rows), "model": model, "lens": lens} for (model, _, lens), rows in grouped.items()
    ]
    return [*found, *without_curve] or [{"words": NO_CURVE, "model": "", "lens": ""}]


def about_verdicts(shapes: Sequence[Finding]) -> str:
    """Return the sentence on the verdicts of one model, context set and lens (rows of the table ``shapes``)."""
    verdicts = listed([f"{_short_verdict(row)} with {documents(row['n_documents'])}" for row in shapes])
    name = f"{model_name(shapes[0])}{lens_name(shapes[0])}"
    return f"{name}: against the gold document's position, {way_in_words(shapes[0])} is {verdicts}."


def way_in_words(way: Finding) -> str:
    """Return in words what is measured and of which tokens: of a row of the table ``shapes``, or a primary analysis."""
    return f"{MEASURE_NAMES[way['measure']]} ({TOKENS[way['tokens']]}, {POPULATIONS[way['population']]})"


def _short_verdict(shape: Finding) -> str:
    form = shape["form"]
    if form in ("inverted U", "U") and shape["supporting_tests"] < 3:
        words = f"{'higher' if form == 'inverted U' else 'lower'} in the middle, though not shown to turn"
    else:
        words = _FORMS.get(form, "")
    return _with_size(words, shape["verdict"], shape["size"], shape["smallest_effect"])


def _with_size(words: str, verdict: str, size: str, bound: float) -> str:
    """Return a form's words with how large it is; a curve without a form is flat or of undecided shape."""
    if verdict == "undecided":
        return "of undecided shape"
    if verdict == "flat":
        return f"flat (within ±{bound:.2f} layers)"
    how_much = {
        "beyond": f"by more than {bound:.2f} layers",
        "within": f"by less than {bound:.2f} layers",
        "open": "by how much is open",
    }[size]
    return f"{words} ({how_much})"


def about_shape(shape: Finding, settings: Finding) -> str:
    """Return the sentences on one curve (a row of the table ``shapes``).

    Args:
        shape: the row.
        settings: with ``confidence``.
    """
    extremes = (
        f"{curve_name(shape)}: {way_in_words(shape)}, {shape['n_tokens']} observations of "
        f"{questions(shape['n_questions'])}, is least with the gold document at "
        f"relative position {shape['lowest_position']:.2f} ({shape['lowest']:.2f} layers) and greatest at "
        f"{shape['highest_position']:.2f} ({shape['highest']:.2f})."
    )
    if shape["middle"] is None:
        return f"{extremes} Its shape cannot be tested: {shape['reason']}."
    return f"{extremes} {_verdict(shape)} {_evidence(shape, settings)}"


def _verdict(shape: Finding) -> str:
    bound = f"{shape['smallest_effect']:.2f} layers"
    if shape["verdict"] == "flat":
        return (
            f"The curve is flat: bend, tilt and the deviation of every position are shown to be smaller than {bound}."
        )
    if shape["verdict"] == "undecided":
        return f"The shape is undecided: the data show neither a bend or a tilt, nor that all is within ±{bound}."
    does, how = _form(shape)
    size = {
        "beyond": f"It {does} by more than the smallest effect, {bound}.",
        "within": f"It {does}, by less than the smallest effect, {bound}.",
        "open": f"It {does}; whether by more or by less than the smallest effect, {bound}, is open.",
    }[shape["size"]]
    return f"{how} {size}"


def _form(shape: Finding) -> tuple[str, str]:
    """Return what the curve does, and the sentence on its form."""
    form = shape["form"]
    if form in ("inverted U", "U"):
        supporting = shape["supporting_tests"]
        if supporting == 3:
            return "bends", f"The curve is {_FORMS[form]}; all three tests of that shape say so."
        side = "above" if form == "inverted U" else "below"
        return "bends", (
            f"The middle lies {side} the ends (verdict: {form}), but only {supporting} of three tests of that shape "
            "say so: the curve is not shown to turn."
        )
    if form in ("rising", "falling"):
        return "tilts", f"The curve is {form}: it tilts, and is not shown to turn."
    name, end = ("primacy", "first") if form.startswith("primacy") else ("recency", "last")
    step = shape[end]
    return f"steps {'up' if step > 0 else 'down'} there", (
        f"The {end} position alone lies {'above' if step > 0 else 'below'} the others (a {name} step), by "
        f"{abs(step):.2f} layers ({_signed(shape[f'{end}_low'])} to {_signed(shape[f'{end}_high'])}, "
        f"{_p(shape[f'{end}_p_holm'])}); bend and tilt among these are shown to be smaller."
    )


def _evidence(shape: Finding, settings: Finding) -> str:
    middle, slope = shape["middle"], shape["slope"]
    return (
        f"The middle positions lie {abs(middle):.2f} layers {'above' if middle >= 0 else 'below'} the ends "
        f"({settings['confidence']:.0%} interval {_signed(shape['middle_low'])} to {_signed(shape['middle_high'])}, "
        f"{_p(shape['middle_p_holm'])}), and from first to last position the curve "
        f"{'rises' if slope >= 0 else 'falls'} by {abs(slope):.2f} ({_signed(shape['slope_low'])} to "
        f"{_signed(shape['slope_high'])}, {_p(shape['slope_p_holm'])}). The position furthest from the curve's mean is "
        f"{shape['deviation_position']:.2f} ({_signed(shape['deviation'])}); none lies further from it than "
        f"{shape['deviation_most']:.2f} ({settings['confidence']:.0%} limit). A difference of middle and "
        f"ends of {shape['smallest_middle']:.2f} layers or more would be found, after correction, in four of five such "
        "studies."
    )


def about_disagreement(finding: Finding) -> str:
    """Return the sentence on a curve whose variants have different verdicts (``findings.disagreements``).

    The variants of a verdict are named where they are few; the page's table has all.
    """
    total = sum(len(verdict["ways"]) for verdict in finding["verdicts"])
    parts = []
    for verdict in finding["verdicts"]:
        variants = [
            f"{MEASURE_NAMES[measure]} ({TOKENS[tokens]}, {POPULATIONS[population]})"
            for measure, tokens, population in verdict["ways"]
        ]
        ways = listed(variants) if len(variants) <= _FEW_WAYS else f"{len(variants)} of {total} of them"
        words = _with_size(
            _FORMS.get(verdict["form"], ""), verdict["verdict"], verdict["size"], finding["smallest_effect"]
        )
        parts.append(f"{words} for {ways}")
    return (
        f"{curve_name(finding)}: the verdict depends on which depth and which tokens are measured. The curve is "
        f"{'; '.join(parts)}."
    )


def about_decomposition(row: Finding) -> str:
    """Return the sentence on what a difference between positions is made of (a row of ``depth_decomposition``)."""
    what = MEASURE_NAMES[row["measure"]]
    sides = {
        "middle_ends": f"{what} in the middle less at the ends",
        "last_first": f"{what} at the last position less at the first",
    }[row["contrast"]]
    start = f"{curve_name(row)}: {sides} is {_estimate(row, 'difference')} layers"
    if row["within"] is None:
        return f"{start}; no answer token is right at all of these positions, so it cannot be split."
    return (
        f"{start}: {_estimate(row, 'within')} within the {row['n_stayers']} answer tokens that are right at all of "
        f"these positions, and {_estimate(row, 'composition')} from which other tokens are right where."
    )


def _estimate(row: Finding, name: str) -> str:
    if row[f"{name}_low"] is None:
        return _signed(row[name])
    return f"{_signed(row[name])} ({_signed(row[f'{name}_low'])} to {_signed(row[f'{name}_high'])})"


def about_orders(row: Finding) -> str:
    """Return the sentence on what the distractors' order does (a row of the table ``order_variance``)."""
    what, unit = ORDER_MEASURES[row["measure"]]
    return (
        f"{curve_name(row)}: moving the gold document moves {what} of a token by {row['sd_position']:.2f} {unit} "
        f"({row['sd_position_low']:.2f} to {row['sd_position_high']:.2f}, a standard deviation over "
        f"{row['n_positions']} positions); drawing the distractors' order anew moves it by {row['sd_order']:.2f} "
        f"({row['sd_order_low']:.2f} to {row['sd_order_high']:.2f}, over {row['n_orders']} orders)."
    )


def about_ways(row: Finding) -> str:
    """Return the sentence on all ways of asking together (any row of a contrast of ``specification_curve``)."""
    what = {"middle_ends": "the middle positions less the ends", "slope": "the slope from first to last position"}
    return (
        f"{model_name(row)}, {documents(row['n_documents'])}: of {row['n_ways']} ways of asking, the median of "
        f"{what[row['contrast']]} is {_signed(row['median'])} layers (joint permutation test over all of them, "
        f"{_p(row['median_p'])}); {row['n_significant']} are beyond 1.96 standard errors in one direction "
        f"({_p(row['n_significant_p'])})."
    )


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def about_layers(finding: Finding) -> str:
    """Return the sentence on the layers with the largest values of one observation (``findings.busiest_layers``)."""
    pairs = [f"{layer} ({_value(finding, value)})" for layer, value in _pairs(finding)]
    what = {
        "share_first_right": "most answer tokens first become right",
        "share_settled": "most answer tokens settle",
        "mean_rise": "the target's log-probability rises most",
    }[finding["measure"]]
    where = f"at layers {listed(pairs)}" if pairs else "at none"
    return f"{model_name(finding)}{lens_name(finding)}: {what} {where}, of {finding['n_layers']}."


def about_cause(row: Finding, settings: Finding) -> str:
    """Return the sentence on whether a lens points to the blocks that matter (a row of ``lens_against_cause``)."""
    observation = {
        "mean_rise": "how much the target's log-probability rises at their outputs",
        "share_settled": "how many answer tokens settle at their outputs",
        "share_first_right": "how many answer tokens first become right at their outputs",
    }[row["observation"]]
    change = {
        "skip": "skipping a block",
        "mean": "replacing a block's contribution by its mean",
        "resample": "replacing a block's contribution by that without the gold document",
    }[row["replacement"]]
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
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")  # no −0.00
