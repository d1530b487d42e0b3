"""Which of a question's accepted answers a study uses."""

from collections.abc import Sequence

from lenscore.contexts.words import FoldedText, find_phrase, fold
from lenscore.errors import ContextError, shown


def occurrence(answer: str, text: str, *, any_case: bool = False) -> tuple[int, int] | None:
    """Return start and end of the first occurrence of ``answer`` in ``text``; None where there is none.

    It is found as whole words (:func:`lenscore.contexts.words.find_phrase`), with any white space between them,
    whether either is composed (NFC) or decomposed (NFD), and with typographic or plain apostrophes, quotes and dashes.
    """
    return _occurrence(answer, fold(text), any_case=any_case)


def _occurrence(answer: str, text: FoldedText, *, any_case: bool) -> tuple[int, int] | None:
    found = find_phrase(answer, text.text, any_case=any_case)
    return text.original(*found) if found else None


def contains_an_answer(text: str, answers: Sequence[str]) -> bool:
    """Return whether any accepted answer occurs in ``text``, in upper or lower case."""
    folded = fold(text)
    return any(_occurrence(answer, folded, any_case=True) for answer in answers)


def answer_in_document(answers: Sequence[str], text: str) -> str:
    """Return the first accepted answer that occurs in the gold document, spelled as it is there.

    An exact occurrence of any answer takes precedence over one that differs in case. An inflected form of an answer is
    not an occurrence of it.

    Raises:
        ContextError: none of them occurs.
    """
    folded = fold(text)
    for any_case in (False, True):
        for answer in answers:
            if found := _occurrence(answer, folded, any_case=any_case):
                return " ".join(text[slice(*found)].split())
    raise ContextError(f"none of the accepted answers {shown(list(answers))} occurs in the gold document")
