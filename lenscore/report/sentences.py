"""What the numbers say, in words: whatever it is, and no more than that."""

from collections.abc import Mapping, Sequence
from typing import Any

Finding = Mapping[str, Any]


def about_curve(finding: Finding, confidence: float) -> str:
    """Return the sentences on one curve of refinement depth (``findings.middle_against_ends``)."""
    where = f"{finding['model']}, {_documents(finding['n_documents'])}"
    low, high, contrast = finding["low"], finding["high"], finding["contrast"]
    interval = f"{confidence:.0%} interval {_signed(low)} to {_signed(high)}"
    lowest, highest = finding["lowest"], finding["highest"]
    size = f"{abs(contrast):.2f} layers {'above' if contrast >= 0 else 'below'} the ends ({interval})"
    if low > 0:
        verdict = f"The middle positions lie {size}: the direction of an inverted U."
    elif high < 0:
        verdict = f"The middle positions lie {size}: the direction of a U, not of an inverted one."
    else:
        verdict = (
            f"The middle positions lie {size}: the data do not tell this from no difference, "
            "so they show no inverted U, nor exclude one within that interval."
        )
    return (
        f"{where}: refinement depth, over the {finding['n_right']} answer tokens, of "
        f"{_questions(finding['n_questions'])}, that the last layer gets right, is least with the gold document at "
        f"relative position {lowest['relative_position']:.2f} ({lowest['mean']:.2f} layers) and greatest at "
        f"{highest['relative_position']:.2f} ({highest['mean']:.2f}). {verdict}"
    )


def about_layers(finding: Finding) -> str:
    """Return the sentence on the layers that do most by one observation (``findings.busiest_layers``)."""
    last = finding["n_layers"]
    layers = _listed([f"{layer} ({_value(finding, value)})" for layer, value in _pairs(finding)])
    what = {
        "share_first_right": "Most answer tokens first become right at layers",
        "share_settled": "Most settle at layers",
        "mean_rise": "The target's log-probability rises most at layers",
    }[finding["measure"]]
    return f"{finding['model']}: {what} {layers}, of {last}."


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


def no_curve(n_right: int) -> str:
    """Return what is said where no curve could be compared."""
    if n_right == 0:
        return "No answer token is right at the last layer, so there is no refinement depth to speak of."
    return (
        "No curve has both ends, a position between them, and an answer token that ends right at each: "
        "the middle cannot be compared with the ends."
    )


def _pairs(finding: Finding) -> list[tuple[int, float]]:
    return [(layer, value) for layer, value in zip(finding["layers"], finding["values"], strict=True) if value > 0]


def _value(finding: Finding, value: float) -> str:
    return f"{value:+.2f} nats" if finding["measure"] == "mean_rise" else f"{value:.0%}"


def _documents(count: int) -> str:
    return f"{count} document{'s' * (count != 1)}"


def _questions(count: int) -> str:
    return f"{count} question{'s' * (count != 1)}"


def _condition(row: Finding) -> str:
    return {"closed_book": "closed book", "oracle": "oracle"}.get(row["condition"], _documents(row["n_documents"]))


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else "none"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
