"""What the report calls models, curves, conditions and ablations: one name each, in the charts and on the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from lenscore.analysis.measures import MEASURES

CONTROLS = {"closed_book": "closed book", "shuffled_gold": "shuffled gold", "oracle": "oracle"}
# What "first" is, the setting analysis.first_token decides.
TOKENS = {"all": "all tokens", "content": "content tokens", "first": "first tokens"}
FIRST_TOKEN = {"content": "first content token", "any": "first token"}
POPULATIONS = {
    "each_position": "each position's own",
    "every_position": "the same everywhere",
    "first_right": "first token right",
    "answer_right": "answer right",
}
CONTRASTS = {"middle_ends": "middle less ends", "slope": "last less first, by the slope"}
MEASURE_NAMES = {name: measure.words for name, measure in MEASURES.items()}
SCOPES = {
    "all": "at every token",
    "answer": "at the answer alone",
    "documents": "at the documents",
    "gold": "at the gold document",
    "examples": "at the examples",
    "question": "at the question",
}
ABLATED_BLOCK = {
    "skip": "the block is skipped",
    "mean": "the block adds its mean",
    "resample": "the block adds what it adds without the gold document",
}
MEASURED_ON = {"answers": "at the answers", "held_out": "on held-out documents"}


def curve_name(row: Mapping[str, Any]) -> str:
    """Return the name of a curve: model and number of documents; context set and lens if not the usual ones."""
    return f"{model_name(row)}, {documents(row['n_documents'])}{lens_name(row)}"


def model_name(row: Mapping[str, Any]) -> str:
    """Return the name of a model, with the context set if it is not ``main``."""
    return str(row["model"]) + ("" if row["context_set"] == "main" else f", {row['context_set']}")


def lens_name(row: Mapping[str, Any]) -> str:
    """Return what to append to a name for the lens: nothing for the logit lens."""
    return "" if row["lens"] == "logit" else f", {row['lens']} lens"


def condition_name(row: Mapping[str, Any]) -> str:
    """Return the name of the contexts of one condition and number of documents."""
    name, among = CONTROLS.get(row["condition"]), documents(row["n_documents"])
    if name is None:
        return among
    return f"{name} among {among}" if row["condition"] == "shuffled_gold" else name


def ablation_name(row: Mapping[str, Any]) -> str:
    """Return how blocks were ablated, from ``replacement`` and ``scope``."""
    return f"when {ABLATED_BLOCK[row['replacement']]} {SCOPES[row['scope']]}"


def documents(count: int) -> str:
    """Return a number of documents in words."""
    return f"{count} document{'s' * (count != 1)}"


def questions(count: int) -> str:
    """Return a number of questions in words."""
    return f"{count} question{'s' * (count != 1)}"


def listed(parts: Sequence[str], last: str = "and") -> str:
    """Return the parts as a list in words, with ``last`` before the last one."""
    if len(parts) < 2:
        return parts[0] if parts else "none"
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"
