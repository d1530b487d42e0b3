"""The errors that a user of the project can cause.

Every message says what was wrong, where, and what would be right; workflow scripts
print it as one line and exit with a non-zero status. What was found there is shown by :func:`shown`.
"""

from collections.abc import Sequence
from reprlib import Repr

_MOST_SHOWN = 300  # characters


class _Short(Repr):
    """A representation whose length is bounded, however large or deep the value is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 8
        self.maxstring = self.maxother = 120

    def repr_int(self, x: int, level: int) -> str:
        """Python writes no number of more than 4,300 digits."""
        return super().repr_int(x, level) if x.bit_length() < 10_000 else f"<number of {x.bit_length()} bits>"


_SHORT = _Short()


def shown(value: object) -> str:
    """Return a value as messages show it: as Python writes it, in at most 300 characters.

    Control characters, and what turns the direction of writing, are escaped: what was found cannot act on a terminal.
    """
    text = _SHORT.repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def repeated_key(names: Sequence[str]) -> str | None:
    """Return in words which key of an object is there more than once, if one is."""
    if len(set(names)) == len(names):
        return None
    twice = next(name for name in names if names.count(name) > 1)
    return f"key {shown(twice)} is there twice in one object; each may be there once"


def shown_name(name: str) -> str:
    """Return the name of a file as messages show it: as it is, unless it is long or does not print as it is."""
    return name if name.isprintable() and len(name) <= _MOST_SHOWN else shown(name)


def counted(number: int | float, noun: str) -> str:
    """Return a number, rounded, with the noun that it counts: "1 job", "1,234 jobs"."""
    written = f"{number:,.0f}"
    return f"{written} {noun}{'' if written == '1' else 's'}"


class LenscoreError(Exception):
    """A fault in the input of a study, as opposed to a bug in the project."""


class ConfigError(LenscoreError):
    """The study's config is not one that can be run."""


class SourceError(LenscoreError):
    """A model or dataset could not be had, or is not what it should be."""


class ContextError(LenscoreError):
    """A context cannot be built from its question, or does not fit the model."""


class TooLargeError(ContextError):
    """A study needs more memory or disk than there is."""


class ArchitectureError(LenscoreError):
    """A part of the model that the lens needs was not found."""


class NotFiniteError(LenscoreError):
    """A model's states, or what was computed from them, have NaN or infinity in them."""


class SelfCheckError(LenscoreError):
    """The lens at the last layer does not reproduce the model's own logits."""


class StoreError(LenscoreError):
    """The records of a study are incomplete, doubled, or contradict one another."""


class DamagedFileError(LenscoreError):
    """A file of a study or of its resources is not as it was made."""
