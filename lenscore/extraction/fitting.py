"""Contexts that are longer than the model's window: refused, left out, or cut.

The decision is the same for all contexts that are compared. A question that does not fit at
one position is left out at every position of that number of documents. Where documents are
cut, they are cut to the same budget in every context of the question, at all its numbers of
documents: they stay the same documents, so that the number of documents is not confounded with
how much of each is left, and the contexts still share their prefixes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from lenscore.contexts.answers import occurrence
from lenscore.contexts.context import Context, Segment
from lenscore.errors import ContextError, shown_name
from lenscore.extraction.tokens import ContextTokenizer, TokenisedContext
from lenscore.study.run_settings import Overflow

Pair = tuple[Context, TokenisedContext]


@dataclass(frozen=True)
class FittedContext:
    """A context as the model reads it; ``tokens`` is None where it is skipped (``extraction.tables.FITS``)."""

    context: Context
    tokens: TokenisedContext | None
    fit: Literal["whole", "cut", "skipped"]
    n_tokens: int
    n_tokens_cut: int = 0
    reason: str | None = None


def window_of(n_positions: int | None, wanted: int | None) -> int | None:
    """Return the most tokens a context may have.

    Args:
        n_positions: the limit in the model's config; None where it sets none.
        wanted: the study's limit, or None.

    Raises:
        ContextError: the study asks for more than the model has positions for.
    """
    if wanted is None or n_positions is None:
        return wanted or n_positions
    if wanted > n_positions:
        raise ContextError(f"window: {wanted} is asked for, but the model has {n_positions} positions")
    return wanted


def fit_contexts(
    contexts: Iterable[Context], tokenizer: ContextTokenizer, overflow: Overflow, window: int | None
) -> Iterator[FittedContext]:
    """Tokenise contexts, each question's together, and fit them to the window."""
    for _, of_question in groupby(contexts, key=lambda context: context.question_id):
        yield from fit_question(list(of_question), tokenizer, overflow, window)


def group_by_question(fitted: Iterable[FittedContext]) -> list[list[Pair]]:
    """Return the contexts that fit, a list a question."""
    kept = [(context.context, context.tokens) for context in fitted if context.tokens is not None]
    return [list(pairs) for _, pairs in groupby(kept, key=lambda pair: pair[0].question_id)]


def fit_question(
    contexts: Sequence[Context], tokenizer: ContextTokenizer, overflow: Overflow, window: int | None
) -> list[FittedContext]:
    """Tokenise all contexts of one question and fit them to the window.

    Args:
        contexts: all of one question.
        tokenizer: the model's.
        overflow: what to do with a context that is too long.
        window: the most tokens that the model reads; None where it has no limit.

    Raises:
        ContextError: a context is too long and the action is ``error``, or it is too long even
            with its documents cut to a few tokens.
    """
    whole = [_whole(context, tokenizer) for context in contexts]
    too_long = [fitted for fitted in whole if window is not None and fitted.n_tokens > window]
    if window is None or not too_long:
        return whole
    if overflow.action == "error":
        longest = max(too_long, key=lambda fitted: fitted.n_tokens)
        raise ContextError(
            f"context {shown_name(longest.context.context_id)} has {longest.n_tokens} tokens, but the model's window "
            f"is {window}: ask for fewer documents, or set the context set's overflow to skip or truncate_documents"
        )
    if overflow.action == "skip":
        skipped = {_comparison_group(fitted.context) for fitted in too_long}
        return [
            _skipped(fitted, f"longer than the window of {window} tokens at one position or more")
            if _comparison_group(fitted.context) in skipped
            else fitted
            for fitted in whole
        ]
    return _cut_to_window(whole, tokenizer, overflow, window)


def _comparison_group(context: Context) -> tuple[str, int]:
    """Return what the contexts of a question that are compared across positions have in common."""
    return context.condition, context.n_documents


def _whole(context: Context, tokenizer: ContextTokenizer) -> FittedContext:
    tokens = _tokenise(context, context.segments, tokenizer)
    return FittedContext(context, tokens, "whole", len(tokens.ids))


def _tokenise(context: Context, segments: Sequence[Segment], tokenizer: ContextTokenizer) -> TokenisedContext:
    try:
        tokens = tokenizer.tokenise(segments, context.answer)
    except ContextError as error:
        raise ContextError(f"context {shown_name(context.context_id)}: {error}") from None
    return replace(tokens, name=context.context_id)


def _skipped(fitted: FittedContext, reason: str) -> FittedContext:
    return replace(fitted, tokens=None, fit="skipped", reason=reason)


def _cut_to_window(
    whole: Sequence[FittedContext], tokenizer: ContextTokenizer, overflow: Overflow, window: int
) -> list[FittedContext]:
    """Find the largest number of tokens per document with which every context fits, and cut to it.

    Tokens merge differently once a document is cut, so the effect of a budget is only known by
    trying: the first guess is exact apart from that, and is lowered until all contexts fit.
    """
    budget = min(_first_budget(fitted, tokenizer, window) for fitted in whole if fitted.n_tokens > window)
    while budget > 0:
        fitted = [_cut(context, tokenizer, overflow, budget) for context in whole]
        over = max((context.n_tokens - window for context in fitted if context.tokens is not None), default=0)
        if over <= 0:
            return fitted
        budget -= max(1, over // max(context.context.n_documents for context in whole))
    worst = max(whole, key=lambda context: context.n_tokens)
    raise ContextError(
        f"context {shown_name(worst.context.context_id)} does not fit the window of {window} tokens even with "
        "its documents cut to a few tokens: ask for fewer documents, or set overflow: skip"
    )


def _first_budget(fitted: FittedContext, tokenizer: ContextTokenizer, window: int) -> int:
    """Return the largest budget whose sum of min(document's tokens, budget) leaves room for the rest."""
    lengths = sorted(
        tokenizer.n_tokens(segment.text) for segment in fitted.context.segments if segment.kind == "document"
    )
    room = window - (fitted.n_tokens - sum(lengths))
    for shorter, length in enumerate(lengths):
        share = room // (len(lengths) - shorter)
        if length > share:
            return share
        room -= length
    return lengths[-1] if lengths else 0


def _cut(fitted: FittedContext, tokenizer: ContextTokenizer, overflow: Overflow, budget: int) -> FittedContext:
    context = fitted.context
    answer = context.answer.strip()

    def cut_text(segment: Segment) -> str:
        if overflow.cut == "answer" and segment.document == context.answer_document:
            return tokenizer.tokens_around(segment.text, budget, answer)
        return tokenizer.first_tokens(segment.text, budget)

    segments = tuple(
        segment._replace(text=cut_text(segment)) if segment.kind == "document" else segment
        for segment in context.segments
    )
    if segments == context.segments:
        return fitted
    if overflow.cut == "start" and not _has_answer(segments, context.answer_document, answer):
        return _skipped(fitted, f"the answer is not among the first {budget} tokens of the gold document")
    tokens = _tokenise(context, segments, tokenizer)
    return FittedContext(context, tokens, "cut", len(tokens.ids), fitted.n_tokens - len(tokens.ids))


def _has_answer(segments: Sequence[Segment], answer_document: int | None, answer: str) -> bool:
    """Return whether the answer is still in its document; True where no document has to have it."""
    texts = [s.text for s in segments if s.kind == "document" and s.document == answer_document]
    return answer_document is None or any(occurrence(answer, text) for text in texts)
