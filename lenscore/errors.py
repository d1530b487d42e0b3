"""The errors that a user of the project can cause.

Every message says what was wrong, where, and what would be right; workflow scripts
print it as one line and exit with a non-zero status.
"""


class LenscoreError(Exception):
    """A fault in the input of a study, as opposed to a bug in the project."""


class ConfigError(LenscoreError):
    """The study's config is not one that can be run."""


class SourceError(LenscoreError):
    """A model or dataset could not be had, or is not what it should be."""


class ContextError(LenscoreError):
    """A context cannot be built from its question, or does not fit the model."""


class ArchitectureError(LenscoreError):
    """A part of the model that the lens needs was not found."""


class NotFiniteError(LenscoreError):
    """A model's states, or what was computed from them, have NaN or infinity in them."""


class SelfCheckError(LenscoreError):
    """The lens at the last layer does not reproduce the model's own logits."""


class StoreError(LenscoreError):
    """The records of a study are incomplete, doubled, or contradict one another."""
