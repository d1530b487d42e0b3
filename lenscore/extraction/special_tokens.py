"""A model's special tokens in the words of the data: read as plain text, as whoever wrote the words meant them.

A passage that holds "<|im_end|>" or "</s>" would else end the turn, or the text. Special tokens in the words of a
prompt, but for those around a document's title, and of a chat template stay what they are. So does white space, which
is in all texts. Some tokenizers have special tokens in their vocabulary as well, and read them whatever they are asked
for: that is logged.
"""

import logging
import re
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple, cast

from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerBase

from lenscore.errors import ContextError, shown

_log = logging.getLogger(__name__)

# Characters for private use, which no text has unless by agreement: each special token has one for a stand-in.
_STAND_INS = range(0x100000, 0x10FFFE)
_FOR_STAND_INS = re.compile(f"[{chr(_STAND_INS[0])}-{chr(_STAND_INS[-1])}]")

# Start and end in a text, in characters.
Span = tuple[int, int]


class Encoded(NamedTuple):
    """Token ids, and where in the text each begins and ends."""

    ids: list[int]
    offsets: list[Span]


class _Readings(NamedTuple):
    """A tokenizer that reads special tokens as plain text, and by the id of a stand-in the id of what it stands for."""

    backend: Tokenizer
    of_stand_ins: dict[int, int]


class TextEncoder:
    """A model's tokenizer, for texts that are partly the data's.

    Args:
        tokenizer: the model's, a fast one.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self._tokenizer = tokenizer
        special = {token.content: index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
        # Of those that begin alike, the longest is the one that is read.
        self._special = {content: special[content] for content in sorted(special, key=len, reverse=True) if content}
        self._pattern = re.compile("|".join(map(re.escape, self._special)) or r"(?!)")
        # What stands for characters that the vocabulary lacks is in the words of many texts.
        self._control_ids = {index for content, index in special.items() if content.strip()} - {tokenizer.unk_token_id}
        self._told: set[str] = set()

    def encode(self, text: str, data: Collection[Span]) -> Encoded:
        """Encode a text without what the tokenizer adds before or after it.

        Texts of the data that hold no special token have the ids that the tokenizer itself gives them.

        Args:
            text: the whole text.
            data: where in it the data's words are; a special token with one of their characters in it is plain text.

        Raises:
            ContextError: beside special tokens that are to be plain text, it has characters that stand for others here.
        """
        found = [match.span() for match in self._pattern.finditer(text)] if data else []
        plain = [span for span in found if text[slice(*span)].strip() and _overlaps(span, data)]
        if plain:
            read = self._encode_beside_plain(text, [span for span in found if span not in plain])
        else:
            encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            read = Encoded(cast("list[int]", encoded["input_ids"]), cast("list[Span]", encoded["offset_mapping"]))
        still_special = self._control_tokens_in(read, text, data)
        self._warn(still_special, "the tokenizer reads it as the model's own token, whatever it is asked for")
        self._warn({text[start:end] for start, end in plain} - still_special, "it is read as plain text")
        return read

    def _control_tokens_in(self, read: Encoded, text: str, data: Collection[Span]) -> set[str]:
        """Return the data's words that were read as special tokens."""
        if self._control_ids.isdisjoint(read.ids):
            return set()
        pairs = zip(read.ids, read.offsets, strict=True)
        return {text[slice(*span)] for token, span in pairs if token in self._control_ids and _overlaps(span, data)}

    def warn_of_special_tokens(self, texts: Iterable[str]) -> None:
        """Warn of special tokens in the data's words where these were not found in the text that is encoded."""
        found = {match[0] for text in texts for match in self._pattern.finditer(text) if match[0].strip()}
        self._warn(found, "it is read as the model's own, as the chat template changes the words of the turn")

    def _encode_beside_plain(self, text: str, own: Sequence[Span]) -> Encoded:
        """Encode a text whose special tokens are plain text but for those at the places ``own``."""
        if found := _FOR_STAND_INS.search(text):
            raise ContextError(
                f"its text has the character for private use {shown(found[0])} beside special tokens of the model that "
                "are to be read as plain text: take one of the two out of the dataset"
            )
        stood_in = list(text)
        for start, end in own:
            stood_in[start:end] = self._stand_ins[text[start:end]]
        backend, of_stand_ins = self._readings
        encoding = backend.encode("".join(stood_in), add_special_tokens=False)
        return Encoded([of_stand_ins.get(token, token) for token in encoding.ids], encoding.offsets)

    @cached_property
    def _stand_ins(self) -> dict[str, str]:
        """By special token a text of the same length, so that offsets stay right."""
        return {token: chr(place) * len(token) for token, place in zip(self._special, _STAND_INS, strict=False)}

    @cached_property
    def _readings(self) -> _Readings:
        # In one pass with the rest of the text: what comes first in it is marked otherwise by some tokenizers.
        backend = Tokenizer.from_str(self._tokenizer.backend_tokenizer.to_str())
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True
        known = {token.content: token for token in self._tokenizer.added_tokens_decoder.values()}
        backend.add_tokens(
            [
                AddedToken(
                    stand_in,
                    special=False,
                    normalized=known[token].normalized,
                    lstrip=known[token].lstrip,
                    rstrip=known[token].rstrip,
                    single_word=known[token].single_word,
                )
                for token, stand_in in self._stand_ins.items()
            ]
        )
        ids = {cast("int", backend.token_to_id(stand_in)): token for token, stand_in in self._stand_ins.items()}
        return _Readings(backend, {stand_in: self._special[token] for stand_in, token in ids.items()})

    def _warn(self, tokens: set[str], how: str) -> None:
        """Say how special tokens in the data are read, of each once."""
        for token in sorted(tokens - self._told):
            _log.warning("the data's words hold the model's special token %s: %s", shown(token), how)
        self._told |= tokens


def _overlaps(span: Span, data: Iterable[Span]) -> bool:
    return any(span[0] < end and start < span[1] for start, end in data)
