"""Token texts made visible: signs for spaces and line breaks, escapes for control characters."""

_SIGNS = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽", "\u200b": "∅"}


def visible_text(text: str) -> str:
    """Return a token's text with signs for spaces and line breaks, and control characters escaped."""
    return "".join(
        _SIGNS.get(character) or (character if character.isprintable() else character.encode("unicode_escape").decode())
        for character in text
    )
