"""The text of a single token, with the spaces and bytes that decoding the token alone would lose."""

import json
import re
from functools import cache

from tokenizers import Tokenizer

_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")


class TokenTexts:
    r"""The texts of a tokenizer's tokens.

    A space at the start of a token is kept, and bytes that are not valid UTF-8 are written as ``\xe2``. The tokenizer's
    own decoder is made for whole texts: it drops both.

    Args:
        tokenizer: of a model. Its pieces may be bytes (in GPT-2's alphabet), SentencePiece's (``▁`` for a space,
            ``<0xE2>`` for a byte), words, or parts of words with a mark at the last one.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._added = {number: token.content for number, token in tokenizer.get_added_tokens_decoder().items()}
        decoder = "" if tokenizer.decoder is None else tokenizer.decoder.__getstate__().decode()
        kinds = set(re.findall(r'"type":\s*"(\w+)"', decoder))
        self._in_bytes = "ByteLevel" in kinds
        self._byte_pieces = "ByteFallback" in kinds
        self._marks_spaces = "Metaspace" in kinds or "▁" in decoder
        # GPT's first tokenizer marks the end of a word, where its decoder writes a space.
        self._word_end = json.loads(decoder)["suffix"] if "BPEDecoder" in kinds else ""

    def __call__(self, token_id: int) -> str:
        """Return a token's text."""
        return self.in_bytes(token_id).decode("utf-8", errors="backslashreplace")

    def in_bytes(self, token_id: int) -> bytes:
        """Return a token's text in UTF-8; a token that is a part of a character has a part of its bytes."""
        piece = self._added.get(token_id)
        if piece is not None:
            return piece.encode()
        piece = self._tokenizer.id_to_token(token_id)
        if piece is None:
            return f"<no token {token_id}>".encode()
        if self._in_bytes:
            return b"".join(_bytes_of(character) for character in piece)
        if self._byte_pieces and (byte := _BYTE_PIECE.fullmatch(piece)):
            return bytes.fromhex(byte[1])
        if self._word_end and piece.endswith(self._word_end):
            piece = piece.removesuffix(self._word_end) + " "
        return (piece.replace("▁", " ") if self._marks_spaces else piece).encode()


def _bytes_of(character: str) -> bytes:
    """Return the bytes that a character of GPT-2's alphabet encodes; any other character encodes itself."""
    return _alphabet().get(character, character.encode())


@cache
def _alphabet() -> dict[str, bytes]:
    """Return GPT-2's byte alphabet: printable Latin-1 for its own bytes, U+0100 on for the others in order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
    return {character: bytes([byte]) for character, byte in characters.items()}
