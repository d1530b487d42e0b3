"""The class of an answer token: white space, punctuation, digits, or what part of a word it is.

A token is judged by its characters and by the one before it. Where the tokenizer splits a character into bytes, each of
its pieces has the whole character.
"""

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

import regex

from lenscore.store.function_words import FUNCTION_WORDS

# Ideographs, kana, and the scripts of South East Asia, which have no spaces between words (UAX #14, table 1).
_WITHOUT_SPACES = regex.compile(r"[\p{Line_Break=ID}\p{Line_Break=CJ}\p{Line_Break=SA}]")
# A byte that is no UTF-8 becomes a surrogate, which is encoded as that byte again.
_BYTES = ("utf-8", "surrogateescape")


def token_classes(tokens: Sequence[bytes], answer: str, *, border_merged: bool = False) -> list[str]:
    """Return the class of each token of an answer, of :data:`~lenscore.extraction.token_class_names.TOKEN_CLASSES`.

    - ``space``: white space only;
    - ``punctuation``: no letter or digit;
    - ``digit``: its letters and digits are all digits;
    - ``function word``: a whole word of :data:`~lenscore.store.function_words.FUNCTION_WORDS`, in lower case or with a
      capital first letter;
    - ``word start``: begins with a letter, a digit or what stands before a word, and nothing before it belongs to the
      same word. In scripts without spaces between words, every token that begins with a whole character is one;
    - ``word part``: goes on with a word.

    Letters and digits are the characters of Unicode's categories L and N; combining marks (M) belong to their letter.

    Args:
        tokens: the bytes of the answer's tokens, in order.
        answer: its text.
        border_merged: whether the first token also holds the end of the prompt, which does not count.
    """
    text = b"".join(tokens).decode(*_BYTES)
    starts = [0, *accumulate(len(character.encode(*_BYTES)) for character in text)]
    begin = len(text) - len(answer) if border_merged and text.endswith(answer) else 0
    found = []
    for end, token in zip(accumulate(map(len, tokens)), tokens, strict=True):
        start = end - len(token)
        first, last = bisect_right(starts, start) - 1, bisect_left(starts, end)
        own = text[max(first, begin) : last] if token else ""
        before = text[first - 1] if first > begin else ""
        found.append(_class(own, before, text[last : last + 1], inside_character=starts[first] < start))
    return found


def _class(text: str, before: str, after: str, *, inside_character: bool) -> str:
    """Return the class of a token.

    Args:
        text: its characters.
        before: the answer's character before them; "" if there is none.
        after: the one after them.
        inside_character: whether the token begins within its first character.
    """
    if text.isspace():
        return "space"
    kinds = {_kind(character) for character in text} & {"L", "N"}
    if not kinds:
        # A mark alone belongs to the letter before it.
        return "word part" if text and _kind(text[0]) == "M" and _in_word(before) else "punctuation"
    if kinds == {"N"}:
        return "digit"
    if inside_character or _same_word(before, text[0]):
        return "word part"
    word = text.strip()
    spelled_so = word in (word.lower(), word.lower().capitalize())
    if word.lower() in FUNCTION_WORDS and spelled_so and not _same_word(word[-1], after):
        return "function word"
    return "word start"


@lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    """Return the first letter of a character's category in Unicode: L letters, N digits, M combining marks."""
    return unicodedata.category(character)[0]


def _in_word(character: str) -> bool:
    return character != "" and _kind(character) in "LNM"


def _same_word(before: str, after: str) -> bool:
    """Return whether two neighbouring characters are of one word."""
    if not (_in_word(before) and _in_word(after)):
        return False
    return _kind(after) == "M" or not (_WITHOUT_SPACES.match(before) or _WITHOUT_SPACES.match(after))
