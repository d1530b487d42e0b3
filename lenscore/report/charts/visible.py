"""Token text as a reader expects it: what would be invisible is shown."""

_SIGNS = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽", "\u200b": "∅"}


def visible(text: str) -> str:
    """Return a token's text with signs for spaces and line breaks, and control characters escaped."""
    return "".join(
        _SIGNS.get(character) or (character if character.isprintable() else character.encode("unicode_escape").decode())
        for character in text
    )
