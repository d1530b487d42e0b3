"""JSON as datasets need it: what Python's own reader lets pass, or fails at, is an error that says where."""

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from lenscore.errors import SourceError, repeated_key, shown

_MOST_DIGITS = 100  # of a whole number
_MOST_LEVELS = 50
_TOO_DEEP = f"nested more than {_MOST_LEVELS} levels deep; a row needs a few"
# Escapes that may make a character that no text has: half a surrogate pair, or NUL.
_SUSPICIOUS = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")


class IncompleteJsonError(SourceError):
    """The text ends before its JSON does."""


class _FaultError(ValueError):
    """A value that the reader would take."""


def parse_json(text: str, place: str) -> object:
    """Return the value of a JSON text.

    Args:
        text: the JSON.
        place: what messages call it, such as "file, line 3".

    Raises:
        IncompleteJsonError: it ends too early.
        SourceError: it is no JSON, is nested too deeply, names a key twice, or has a number or character that is none.
    """
    text = text.rstrip()
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_whole_number,
            parse_float=_number,
            parse_constant=_no_number,
        )
        if text.count("{") + text.count("[") > _MOST_LEVELS:
            _check_depth(value)
        if _SUSPICIOUS.search(text):
            _check_characters(value)
    except json.JSONDecodeError as error:
        kind = IncompleteJsonError if error.pos >= len(text) else SourceError
        where = f"line {error.lineno}, column {error.colno}" if "\n" in text else f"column {error.colno}"
        raise kind(f"{place}: not JSON: {error.msg} at {where}") from None
    except _FaultError as error:
        raise SourceError(f"{place}: {error}") from None
    except RecursionError:
        raise SourceError(f"{place}: {_TOO_DEEP}") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if fault := repeated_key([name for name, _ in pairs]):
        raise _FaultError(fault)
    return dict(pairs)


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise _FaultError(f"a number of {len(digits):,} digits ({digits[:20]}...); put it in quotes if it is text")
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _FaultError(f"the number {shown(digits)} is too large; put it in quotes if it is text")
    return number


def _no_number(word: str) -> float:
    raise _FaultError(f"{word} is no JSON; use null, or put it in quotes if it is text")


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(_MOST_LEVELS + 1):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _inside(outer)]
    if level:
        raise _FaultError(_TOO_DEEP)


def _inside(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _check_characters(value: object) -> None:
    for text in _texts(value):
        if "\0" in text:
            raise _FaultError(f"the character NUL in {shown(text)}; remove it")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise _FaultError(f"half a surrogate pair in {shown(text)}, which is no character; remove or complete it")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
