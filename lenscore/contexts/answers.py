"""Which of a question's accepted answers a study uses."""

import re
from collections.abc import Sequence

from lenscore.errors import ContextError


def occurrence(answer: str, text: str, *, any_case: bool = False) -> re.Match[str] | None:
    """Find ``answer`` in ``text`` as whole words, with any white space between them."""
    words = answer.split()
    if not words:
        return None
    pattern = r"(?<!\w)" + r"\s+".join(map(re.escape, words)) + r"(?!\w)"
    return re.search(pattern, text, re.IGNORECASE if any_case else 0)


def contains_an_answer(text: str, answers: Sequence[str]) -> bool:
    """Return whether any accepted answer occurs in ``text``, in upper or lower case."""
    return any(occurrence(answer, text, any_case=True) for answer in answers)


def answer_in_document(answers: Sequence[str], text: str) -> str:
    """Return the first accepted answer that occurs in the gold document, spelled as it is there.

    An exact occurrence of any answer takes precedence over one that differs in case.

    Raises:
        ContextError: none of them occurs.
    """
    for any_case in (False, True):
        for answer in answers:
            if found := occurrence(answer, text, any_case=any_case):
                return " ".join(found.group().split())
    raise ContextError(f"none of the accepted answers {list(answers)} occurs in the gold document")
