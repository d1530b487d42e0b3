"""The names of the classes of answer tokens; :mod:`lenscore.store.token_classes` says which token has which.

They stand here, to the left of the store, so that statistics that name them do not depend on its SQL.
"""

TOKEN_CLASSES = ("space", "punctuation", "digit", "function word", "word start", "word part")
CONTENT_CLASSES = ("digit", "function word", "word start", "word part")
"""The classes of content tokens: those that hold a letter or digit."""
