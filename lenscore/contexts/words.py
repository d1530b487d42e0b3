"""Words in every script: where one ends, how spellings of one text are folded, and the terms that a search counts.

Chinese, Japanese, Thai, Khmer, Lao and others write no space between words, so that no character next to an answer says
that the answer is a part of a longer word. Korean has spaces, but joins particles to the end of a word.
"""

import re
import unicodedata
from array import array
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import regex

# Names of Unicode's property Script_Extensions, which gives "ー" to Hiragana and Katakana.
_WITHOUT_SPACES = (
    "Han", "Hiragana", "Katakana", "Bopomofo", "Yi", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan", "Javanese",
    "Balinese", "Tai_Le", "New_Tai_Lue", "Tai_Tham",
)  # fmt: skip
_WITH_SPACES = (
    "Latin", "Greek", "Cyrillic", "Armenian", "Hebrew", "Arabic", "Syriac", "Devanagari", "Bengali", "Gurmukhi",
    "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Georgian", "Ethiopic", "Mongolian",
    "Cherokee", "Hangul",
)  # fmt: skip

# What may follow a Korean noun within its word. Particles may follow one another.
_PARTICLES = (
    "은는이가을를의에께로와과랑도만나다며고인"  # of one syllable
    " 에서 에게 에게서 께서 한테 으로 로서 으로서 로써 으로써 이랑 하고 까지 부터 마저 조차 보다 처럼"
    " 같이 이나 라도 이라도 라는 이라는 라고 이라고 이다 입니다 이었다 였다 이며 이고 였던 이었던"
)
_OF_ONE, *_LONGER = _PARTICLES.split()


def _scripts(*names: str) -> str:
    return "".join(rf"\p{{Script_Extensions={name}}}" for name in names)


_WORD = r"\w\p{No}"  # as in "m²"
_NO_SPACES = _scripts(*_WITHOUT_SPACES)
_PARTICLES_AT_END = regex.compile(rf"(?:[{_OF_ONE}]|{'|'.join(_LONGER)})+(?!\p{{Hangul}})")

# Typographic characters, and the plain ones that mean the same.
_PLAIN = {
    **dict.fromkeys(map(ord, "‘’‛ʼ′＇`´"), "'"),
    **dict.fromkeys(map(ord, "“”„‟″＂«»"), '"'),
    **dict.fromkeys(map(ord, "‐‑‒–—―−﹣－"), "-"),
}
# Soft hyphen, zero-width space, word joiner, byte order mark: not seen, and no part of what is written.
_INVISIBLE = "\u00ad\u200b\u2060\ufeff"
_HAS_INVISIBLE = regex.compile(f"[{_INVISIBLE}]")


class FoldedText(NamedTuple):
    """A text in which other spellings of the same characters are one.

    Attributes:
        text: composed (NFC), typographic apostrophes, quotes and dashes plain, invisible characters left out.
        starts: where each of its characters begins in the original; None where that is its own place.
        ends: where each of them ends there.
    """

    text: str
    starts: "array[int] | None" = None
    ends: "array[int] | None" = None

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return the start and end in the original of a run of characters that is not empty."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def fold(text: str) -> FoldedText:
    """Return a text with its spellings folded; upper and lower case stay."""
    if unicodedata.is_normalized("NFC", text) and not _HAS_INVISIBLE.search(text):
        return FoldedText(text.translate(_PLAIN))
    parts: list[str] = []
    starts, ends = array("q"), array("q")
    for cluster in regex.finditer(r"\X", text):
        visible = _HAS_INVISIBLE.sub("", cluster.group())
        composed = unicodedata.normalize("NFC", visible).translate(_PLAIN)
        parts.append(composed)
        if len(composed) == len(cluster.group()):
            starts.extend(range(*cluster.span()))
            ends.extend(range(cluster.start() + 1, cluster.end() + 1))
        else:
            starts.extend([cluster.start()] * len(composed))
            ends.extend([cluster.end()] * len(composed))
    return FoldedText("".join(parts), starts, ends)


def find_phrase(phrase: str, text: str, *, any_case: bool = False) -> tuple[int, int] | None:
    """Return start and end of the first occurrence of a phrase as whole words; None where there is none.

    A neighbour makes the phrase a part of a longer word where it is a letter, digit or mark of the same script, and
    that script has spaces. Digits belong to every such script but Hangul: neither "1960s" nor "B1960" has the word
    "1960", "1960年" and "1960년" have. A Korean word may end in particles.

    Args:
        phrase: the words, with any white space between them.
        text: folded.
        any_case: whether upper and lower case are one.
    """
    pattern = _pattern(phrase, any_case)
    if pattern is None:
        return None
    start = 0
    while found := pattern.search(text, start):
        if _stands_alone(text, *found.span()):
            return found.span()
        start = found.start() + 1
    return None


@lru_cache(maxsize=4096)
def _pattern(phrase: str, any_case: bool) -> re.Pattern[str] | None:
    words = fold(phrase).text.split()
    return re.compile(r"\s+".join(map(re.escape, words)), re.IGNORECASE if any_case else 0) if words else None


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Return whether a run of characters is no part of a longer word."""
    if start > 0 and _joined(text[start - 1], text[start]):
        return False
    if end == len(text):
        return True
    if _joined(text[end], text[end - 1]):
        return _script(text[end - 1]) == "Hangul" and _PARTICLES_AT_END.match(text, end) is not None
    return not unicodedata.category(text[end]).startswith("M")  # a combining mark belongs to the last letter


def _joined(neighbour: str, edge: str) -> bool:
    """Return whether a neighbour makes a longer word of what has the character ``edge`` at its end."""
    other, own = _script(neighbour), _script(edge) or "Common"
    if other in ("", "no spaces") or own == "no spaces":
        return False
    if "Hangul" in (other, own):
        return other == own
    return other == own or "Common" in (other, own)


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    """Return the script of a character of words, "" for others.

    It is "no spaces" for all scripts that have none between words, and "Common" for digits and what else has no script.
    """
    if not regex.match(f"[{_WORD}]", character):
        return ""
    if regex.match(f"[{_NO_SPACES}]", character):
        return "no spaces"
    return next((name for name in _WITH_SPACES if regex.match(rf"\p{{Script={name}}}", character)), "Common")


# Scripts whose words are searched by pairs of characters: Korean too, as particles would keep words apart.
_OF_PAIRS = f"{_NO_SPACES}{_scripts('Hangul')}"
_TERMS = regex.compile(rf"[[{_OF_PAIRS}]&&[{_WORD}]]+|[[{_WORD}]--[{_OF_PAIRS}]]{{2,}}", regex.V1)
_ASCII_TERMS = re.compile(r"\w{2,}", re.ASCII)  # the same, and faster


def terms(text: str) -> Iterator[str]:
    """Yield the terms of a text that a search counts, in lower case.

    They are the words of two characters or more; in scripts without spaces and in Korean the pairs of neighbouring
    characters, as search engines take them there.
    """
    folded = fold(text).text.lower()
    for run in (_ASCII_TERMS if folded.isascii() else _TERMS).findall(folded):
        if run.isascii() or _script(run[0]) not in ("no spaces", "Hangul"):
            yield run
            continue
        characters = regex.findall(r"\X", run)
        yield from map("".join, pairwise(characters)) if len(characters) > 1 else characters
