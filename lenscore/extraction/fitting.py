"""Contexts that are longer than the model's window: refused, left out, or cut.

A decision is made for all contexts that are to be compared. A question that does not fit
at one position is left out at every position of that number of documents. Where documents
are cut, they are cut to the same budget in every context of the question, at all its
numbers of documents: the same documents in the same words, so that length is not confounded
with how much of a document is left, and the contexts still share their prefixes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lenscore.contexts.answers import occurrence
from lenscore.errors import ContextError
from lenscore.extraction.tokens import ContextTokenizer, Segments, TokenisedContext


@dataclass(frozen=True)
class Overflow:
    """What to do with a context that is longer than the window (see ``study.ContextSetSpec``)."""

    action: Literal["error", "skip", "truncate_documents"] = "error"
    cut: Literal["answer", "start"] = "answer"


@dataclass(frozen=True)
class FittedContext:
    """A context as the model is to read it; ``tokens`` is None where it is skipped (``records.FITS``)."""

    context: Mapping[str, Any]
    tokens: TokenisedContext | None
    fit: Literal["whole", "cut", "skipped"]
    n_tokens: int
    n_tokens_cut: int = 0
    reason: str | None = None


def fit_question(
    contexts: Sequence[Mapping[str, Any]], tokenizer: ContextTokenizer, overflow: Overflow, window: int | None
) -> list[FittedContext]:
    """Tokenise all contexts of one question and fit them to the window.

    Args:
        contexts: rows of ``records.CONTEXTS``, all of one question.
        tokenizer: the model's.
        overflow: what to do with a context that is too long.
        window: the most tokens that the model reads; None where it has no limit.

    Raises:
        ContextError: a context is too long and ``overflow`` is ``error``, or not even the prompt
            without its documents' words fits.
    """
    whole = [_whole(context, tokenizer) for context in contexts]
    too_long = [fitted for fitted in whole if window is not None and fitted.n_tokens > window]
    if window is None or not too_long:
        return whole
    if overflow.action == "error":
        longest = max(too_long, key=lambda fitted: fitted.n_tokens)
        raise ContextError(
            f"context {longest.context['context_id']} has {longest.n_tokens} tokens, but the model's window is "
            f"{window}: ask for fewer documents, or set the context set's overflow to skip or truncate_documents"
        )
    if overflow.action == "skip":
        lengths = {_comparison(fitted.context) for fitted in too_long}
        return [
            _skipped(fitted, f"longer than the window of {window} tokens at one position or more")
            if _comparison(fitted.context) in lengths
            else fitted
            for fitted in whole
        ]
    return _cut_to_window(whole, tokenizer, overflow, window)


def _comparison(context: Mapping[str, Any]) -> tuple[str, int]:
    return context["condition"], context["n_documents"]


def _whole(context: Mapping[str, Any], tokenizer: ContextTokenizer) -> FittedContext:
    tokens = tokenizer.tokenise(context["segments"], context["answer"])
    return FittedContext(context, tokens, "whole", len(tokens.ids))


def _skipped(fitted: FittedContext, reason: str) -> FittedContext:
    return replace(fitted, tokens=None, fit="skipped", reason=reason)


def _cut_to_window(
    whole: Sequence[FittedContext], tokenizer: ContextTokenizer, overflow: Overflow, window: int
) -> list[FittedContext]:
    """Find the largest budget of tokens a document with which every context fits, and cut to it.

    Tokens merge otherwise once a document is cut, so that a budget's effect is only known by
    trying: the first guess is exact but for that, and is lowered until all contexts fit.
    """
    budget = min(_first_budget(fitted, tokenizer, window) for fitted in whole if fitted.n_tokens > window)
    while budget > 0:
        fitted = [_cut(context, tokenizer, overflow, budget) for context in whole]
        over = max((context.n_tokens - window for context in fitted if context.tokens is not None), default=0)
        if over <= 0:
            return fitted
        budget -= max(1, over // max(context.context["n_documents"] for context in whole))
    worst = max(whole, key=lambda context: context.n_tokens)
    raise ContextError(
        f"context {worst.context['context_id']} does not fit the window of {window} tokens even with its documents cut "
        "to a few tokens: ask for fewer documents, or set overflow: skip"
    )


def _first_budget(fitted: FittedContext, tokenizer: ContextTokenizer, window: int) -> int:
    """Return the largest budget whose sum of min(document's tokens, budget) leaves room for the rest."""
    lengths = sorted(
        tokenizer.n_tokens(segment["text"]) for segment in fitted.context["segments"] if segment["kind"] == "document"
    )
    room = window - (fitted.n_tokens - sum(lengths))
    for place, length in enumerate(lengths):
        share = room // (len(lengths) - place)
        if length > share:
            return share
        room -= length
    return lengths[-1] if lengths else 0


def _cut(fitted: FittedContext, tokenizer: ContextTokenizer, overflow: Overflow, budget: int) -> FittedContext:
    context = fitted.context
    answer = context["answer"].strip()
    # The document in the gold one's stead is cut as the others are: it holds no answer.
    gold = None if context["condition"] == "shuffled_gold" else context["gold_index"]
    segments = [
        {**segment, "text": _cut_document(segment["text"], tokenizer, overflow, budget, answer, is_gold)}
        if segment["kind"] == "document"
        else segment
        for segment in context["segments"]
        for is_gold in [gold is not None and segment["document"] == gold]
    ]
    if segments == list(context["segments"]):
        return fitted
    if overflow.cut == "start" and not _gold_holds(segments, gold, answer):
        return _skipped(fitted, f"the answer does not stand in the first {budget} tokens of the gold document")
    tokens = tokenizer.tokenise(segments, context["answer"])
    return FittedContext(context, tokens, "cut", len(tokens.ids), fitted.n_tokens - len(tokens.ids))


def _cut_document(
    text: str, tokenizer: ContextTokenizer, overflow: Overflow, budget: int, answer: str, is_gold: bool
) -> str:
    if overflow.cut == "answer" and is_gold:
        return tokenizer.tokens_around(text, budget, answer)
    return tokenizer.first_tokens(text, budget)


def _gold_holds(segments: Segments, gold_index: int | None, answer: str) -> bool:
    gold = (s["text"] for s in segments if s["kind"] == "document" and s["document"] == gold_index)
    return gold_index is None or any(occurrence(answer, text) for text in gold)
