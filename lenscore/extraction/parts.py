"""The parts of a context's prompt, in tokens, and how far from its end the gold document stands."""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Literal

from lenscore.contexts.context import Context
from lenscore.errors import ContextError, shown_name
from lenscore.extraction.tokens import TokenisedContext

# Documents, examples and question share out the tokens before the first that predicts the answer; gold is one document.
Part = Literal["documents", "gold", "examples", "question"]


def tokens_of_part(context: Context, tokens: TokenisedContext, part: Part) -> list[int]:
    """Return the places of a part's tokens, of those before the first token that predicts the answer.

    Args:
        context: with documents.
        tokens: the context as the model reads it.
        part: ``documents``, from the first one's number and title to the last one's end; ``gold``, the gold document
            with number and title; ``question``, its words and all that follows them; ``examples``, all the rest:
            worked examples, instructions, and what the tokenizer and a chat template add.

    Raises:
        ContextError: a chat template has changed the words of the prompt, so that its parts are not known.
    """
    if tokens.segments is None:
        raise ContextError(
            f"context {shown_name(context.context_id)}: the model's chat template changes the words of the prompt, so "
            "that its documents and its question are not found in it: leave the scopes of parts out of ablation.scopes"
        )
    end = tokens.predicting_positions.start
    found = {
        "documents": _stretch(_document_tokens(context, tokens.segments, lambda _: True)),
        "gold": _stretch(_document_tokens(context, tokens.segments, lambda document: document == context.gold_index)),
        "question": _question_tokens(context, tokens.segments, end),
    }
    if part == "examples":
        places: Iterable[int] = set(range(end)).difference(found["documents"], found["question"])
    else:
        places = found[part]
    return sorted(place for place in places if place < end)


def gold_distance(context: Context, tokens: TokenisedContext) -> int | None:
    """Return how many tokens the gold document's first token stands before the prompt's last.

    That document begins with its number and title; the prompt's last token is the one that predicts the answer's
    first. In ``shuffled_gold`` it is that of the document in the gold one's stead. None where there is neither, or
    where a chat template has changed the words of the prompt.
    """
    if tokens.segments is None or context.gold_index is None:
        return None
    places = list(_document_tokens(context, tokens.segments, lambda document: document == context.gold_index))
    return tokens.predicting_positions.start - min(places) if places else None


def _document_tokens(context: Context, places: list[range], wanted: Callable[[int], bool]) -> Iterable[int]:
    return chain.from_iterable(
        of_segment
        for segment, of_segment in zip(context.segments, places, strict=True)
        if segment.document is not None and wanted(segment.document)
    )


def _stretch(places: Iterable[int]) -> range:
    """Return all places from the first to the last of some: separators between documents are among them."""
    found = list(places)
    return range(min(found), max(found) + 1) if found else range(0)


def _question_tokens(context: Context, places: list[range], end: int) -> set[int]:
    asked = [of for segment, of in zip(context.segments, places, strict=True) if segment.kind == "question" and of]
    return set(chain(*asked, range(asked[-1].start, end))) if asked else set()
