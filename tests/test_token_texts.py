"""Texts of single tokens: put together again, they are the text that was tokenised."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lenscore.store.token_texts import TokenTexts, _alphabet
from tests.tiny_tokenizers import SENTENCES, gpt2_like

TEXT = 'Key: "yellow"\n\tthe  lemon, née in São Paulo 🍋'


def texts(tokenizer: PreTrainedTokenizerFast | Tokenizer, text: str) -> list[str]:
    backend = tokenizer.backend_tokenizer if isinstance(tokenizer, PreTrainedTokenizerFast) else tokenizer
    text_of = TokenTexts(backend)
    return [text_of(token) for token in backend.encode(text, add_special_tokens=False).ids]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_tokens_in_bytes_join_to_their_text(sentence: str) -> None:
    assert "".join(texts(gpt2_like(), sentence)) == sentence


def test_bytes_that_are_no_text_are_escaped() -> None:
    pieces = texts(gpt2_like(), TEXT)
    # What was split inside a character is escaped byte by byte: putting the bytes back gives the text again.
    joined = "".join(pieces).encode().decode("unicode_escape").encode("latin-1").decode()
    assert joined == TEXT
    assert r"\xf0" in pieces


def test_the_alphabet_is_the_tokenizers_own() -> None:
    assert set(_alphabet()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(_alphabet().values()) == [bytes([byte]) for byte in range(256)]


def test_pieces_of_sentencepiece_keep_their_spaces_and_show_their_bytes() -> None:
    pieces = ["<unk>", "▁the", "▁lemon", "s", "▁", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, [], unk_token="<unk>"))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    text_of = TokenTexts(tokenizer)
    assert [text_of(number) for number in (1, 2, 3, 4)] == [" the", " lemon", "s", " "]
    assert text_of(pieces.index("<0x0A>")) == "\n"
    assert text_of(pieces.index("<0xF0>")) == r"\xf0"


def test_added_tokens_stand_as_they_are() -> None:
    assert texts(gpt2_like(), "<|start|>the")[0] == "<|start|>"
    assert TokenTexts(gpt2_like().backend_tokenizer)(10_000) == "<no token 10000>"
