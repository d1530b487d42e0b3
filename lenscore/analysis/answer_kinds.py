"""The kind of an answer, decided by its words alone."""

import re

KINDS = ("number", "date", "name", "other")

_MONTHS = [
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
]  # fmt: skip
_MONTH = rf"(?:{'|'.join(_MONTHS)}|{'|'.join(month[:3] for month in _MONTHS)}|sept)\.?"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_YEAR = r"(?:1\d{3}|20\d{2})"
# A year; a month with a day, a year or both; a date in numbers; a decade or a century.
_DATE = re.compile(
    rf"(?:(?:in|on|since|early|late|mid|circa|c\.)\s+)*(?:(?:the\s+)?{_YEAR}(?:s|\s*[-–]\s*(?:{_YEAR}|\d{{2}}))?"
    rf"|(?:{_DAY}\s+(?:of\s+)?)?{_MONTH}(?:\s+{_DAY})?,?(?:\s+(?:of\s+)?{_YEAR})?"
    rf"|\d{{1,4}}[-/.]\d{{1,2}}[-/.]\d{{1,4}}|(?:the\s+)?\d{{1,2}}(?:st|nd|rd|th)\s+century)",
    re.IGNORECASE,
)
_NUMERAL = re.compile(r"[-+−$€£¥]?\d[\d,.]*(?:st|nd|rd|th|%|[a-zµ°]{1,4})?", re.IGNORECASE)
_NUMBER_WORDS = frozenset([
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty", "thirty",
    "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred", "thousand", "million", "billion",
    "trillion", "half", "dozen", "once", "twice", "first", "second", "third", "fourth", "fifth", "sixth",
    "seventh", "eighth", "ninth", "tenth",
])  # fmt: skip
_HEDGES = frozenset([
    "about", "almost", "approximately", "around", "nearly", "over", "roughly", "some",
])  # fmt: skip
# Articles, prepositions and conjunctions, which are not capitalised within names.
_FUNCTION_WORDS = frozenset([
    "&", "a", "an", "and", "at", "by", "da", "das", "de", "del", "der", "di", "do", "du", "el", "en", "for",
    "in", "la", "le", "les", "of", "on", "the", "to", "und", "van", "von", "y",
])  # fmt: skip


def answer_kind(answer: str) -> str:
    """Return ``number``, ``date``, ``name`` or ``other``.

    - date: the whole answer is a year, a month with a day or a year, a date in numbers, a decade, a century;
    - number: its first word, or its second after an article or a hedge, is a numeral or a number in words;
    - name: every word except articles, prepositions and conjunctions begins with a capital;
    - other: everything else.

    The rule looks at spelling, not at meaning: "May" is a date and "Fifty Shades of Grey" a number.
    """
    words = re.findall(r"[^\s-]+", answer)
    if _DATE.fullmatch(" ".join(answer.split()).strip(".,; ")):
        return "date"
    leading = [word.strip(".,;:!?\"'()").lower() for word in words[:2]]
    if leading and leading[0] in _FUNCTION_WORDS | _HEDGES:
        leading = leading[1:]
    if leading and (_NUMERAL.fullmatch(leading[0]) or leading[0] in _NUMBER_WORDS):
        return "number"
    content = [word.lstrip("\"'(“‘") for word in words if word.lower().strip(".,") not in _FUNCTION_WORDS]
    if content and all(word[:1].isupper() or word[:1].isdigit() for word in content):
        return "name"
    return "other"
