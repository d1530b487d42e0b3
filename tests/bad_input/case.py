"""What a case of the catalogue is, and when the project's answer to it is right."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lenscore.errors import LenscoreError

LONGEST_MESSAGE = 2500  # characters
LONGEST_ANSWER = 30.0  # seconds; most are given in a hundredth


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        area: what it is bad as.
        name: what is wrong with it.
        give: gives it to the project, in an empty folder.
        words: parts that the message has.
    """

    area: str
    name: str
    give: Callable[[Path], object]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """The project's answer to a case, and what is wrong about that answer."""

    message: str
    fault: str | None


def outcome(case: Case, folder: Path) -> Outcome:
    """Give a case to the project: right is its own error, short and in one piece, and nothing left behind."""
    started = time.monotonic()
    try:
        case.give(folder)
    except LenscoreError as error:
        message = str(error)
    # Whatever else is raised would be a traceback to a user.
    except Exception as error:
        return Outcome(repr(error)[:200], f"a traceback: {type(error).__name__}")
    else:
        return Outcome("", "accepted")
    taken = time.monotonic() - started
    if missing := [words for words in case.words if words not in message]:
        return Outcome(message, f"does not say {missing}")
    if len(message) > LONGEST_MESSAGE:
        return Outcome(message[:200], f"{len(message):,} characters")
    if not all(character.isprintable() or character == "\n" for character in message):
        return Outcome(repr(message), "has characters that act on a terminal")
    if taken > LONGEST_ANSWER:
        return Outcome(message, f"took {taken:.0f} s")
    if (folder / "dataset").exists() or list(folder.glob(".part-*")):
        return Outcome(message, "left something behind")
    return Outcome(message, None)
