"""The class of an answer token: from its text and the text before it, in every script and however it is split."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from lenscore.extraction.token_class_names import CONTENT_CLASSES, TOKEN_CLASSES
from lenscore.store.function_words import FUNCTION_WORDS
from lenscore.store.token_classes import token_classes
from lenscore.store.token_texts import TokenTexts
from tests.small_study import SmallStudy
from tests.tiny_tokenizers import gpt2_like

SHORT = {
    "_": "space", ".": "punctuation", "9": "digit", "f": "function word", "W": "word start", "w": "word part",
}  # fmt: skip


def classes(*tokens: str) -> str:
    """The classes of tokens that are whole characters, a sign each."""
    sign = {name: sign for sign, name in SHORT.items()}
    return "".join(sign[name] for name in token_classes([token.encode() for token in tokens], "".join(tokens)))


@pytest.mark.parametrize(
    ("tokens", "wanted"),
    [
        # SmolLM2 on " 1997": the space is a token of its own.
        ((" ", "1", "9", "9", "7"), "_9999"),
        ((" Bob", " Dyl", "an"), "WWw"),
        ((" the", " 19", "th", " century"), "f9wW"),
        ((" H", "2", "O"), "W9w"),
        ((" O", "'", "Brien", ",", " Jr", "."), "W.W.W."),
        ((" in", "form"), "Ww"),  # "in" is a part of a longer word
        ((" in", "-", "law"), "f.W"),
        ((" The", " US", " and", " us", " IT", " it", "'s"), "fWfWWfW"),
        ((" don't", " I", " i"), "fff"),
        (("$", "1", ",", "000", "\n", " %"), ".9.9_."),
        ((" ½", " m²", " Ⅷ", " ٣"), "9W99"),
        ((" state-of", "-the"), "WW"),
        ((" nai", "\u0308", "ve"), "Www"),  # a combining mark belongs to its letter
        (("\u0308", "."), ".."),
        ((" हिन", "्", "दी"), "Www"),
        (("東京", "都", "は", " B", "年"), "WWWWW"),
        (("กรุง", "เทพ"), "WW"),
        (("서울", "에서", " 한국"), "WwW"),
        (("🍋", "—", "a"), "..f"),
    ],
)
def test_classes_by_hand(tokens: tuple[str, ...], wanted: str) -> None:
    assert classes(*tokens) == wanted


def test_pieces_of_a_character_have_the_whole_character() -> None:
    # "é" inside a word, "京" after another ideograph, an ideographic space and a lemon, all split into bytes.
    e, kyo, space, lemon = ("é".encode(), "京".encode(), "\u3000".encode(), "🍋".encode())
    tokens = [b" caf", e[:1], e[1:], "東".encode() + kyo[:1], kyo[1:], space[:2], space[2:], lemon[:1], lemon[1:]]
    names = token_classes(tokens, b"".join(tokens).decode())
    assert (
        names
        == ["word start", "word part", "word part", "word start", "word part", "space", "space"] + ["punctuation"] * 2
    )


def test_bytes_that_are_no_text_are_no_letters() -> None:
    assert token_classes([b" a\xe2", b"\x82", b"b", b""], " a") == [
        "word start", "punctuation", "word start", "punctuation",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tokens", "answer", "wanted"),
    [
        ((b"No ", b"7"), " 7", ["space", "digit"]),  # the prompt's "No" does not count
        ((b'"Par', b"is"), "Paris", ["word start", "word part"]),
        ((b"x the", b" end"), " the end", ["function word", "word start"]),
    ],
)
def test_of_a_token_across_the_border_only_the_answer_counts(
    tokens: tuple[bytes, ...], answer: str, wanted: list[str]
) -> None:
    assert token_classes(tokens, answer, border_merged=True) == wanted


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12), st.data())
def test_a_token_is_content_if_and_only_if_it_touches_a_letter_or_digit(text: str, data: st.DataObject) -> None:
    whole = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(whole) - 1)), max_size=6)))
    ends = [*(cut for cut in cuts if cut < len(whole)), len(whole)]
    tokens = [whole[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    # Byte by byte, the character that it is a part of.
    owner = [character for character in text for _ in character.encode()]
    place = 0
    for token, name in zip(tokens, token_classes(tokens, text), strict=True):
        own = owner[place : place + len(token)]
        place += len(token)
        kinds = {unicodedata.category(character)[0] for character in own}
        assert name in TOKEN_CLASSES
        if name != "word part":  # or a mark alone, which belongs to a letter
            assert (name in CONTENT_CLASSES) == bool(kinds & {"L", "N"})
        assert (name == "space") == all(character.isspace() for character in own)
        assert (name == "digit") == (kinds & {"L", "N"} == {"N"})


def test_the_list_of_function_words_is_the_cited_one() -> None:
    assert len(FUNCTION_WORDS) == 174
    assert {"the", "i", "cannot", "how's"} <= FUNCTION_WORDS
    # Left out there, as they are nouns too.
    assert not {"will", "can", "may", "might", "must", "us", "one", "first"} & FUNCTION_WORDS


def test_a_real_tokenizer_gives_what_its_text_says() -> None:
    tokenizer = gpt2_like().backend_tokenizer
    text, answer = TokenTexts(tokenizer), ' the lemon, née in "1937"'
    tokens = [text.in_bytes(token) for token in tokenizer.encode(answer, add_special_tokens=False).ids]
    names = token_classes(tokens, answer)
    assert b"".join(tokens).decode() == answer
    found = {token.decode(errors="replace"): name for token, name in zip(tokens, names, strict=True)}
    assert found[" the"] == "function word"
    assert found[","] == "punctuation"
    assert {name for token, name in found.items() if token.isdigit()} == {"digit"}


def test_a_mark_at_the_end_of_words_is_no_text() -> None:
    tokenizer = Tokenizer(models.BPE({"lem": 0, "on</w>": 1, ",</w>": 2}, []))
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    text = TokenTexts(tokenizer)
    assert [text(number) for number in (0, 1, 2)] == ["lem", "on ", ", "]
    tokens = [text.in_bytes(number) for number in (0, 1, 2)]
    assert token_classes(tokens, "lemon,") == ["word start", "word part", "punctuation"]


def test_every_answer_token_of_a_database_has_its_class(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path)
    study.load()
    # The words of that tokenizer have no space: the answer is w7w7.
    assert study.query("select answer_index, token_class, count(*) from answer_tokens group by all order by all") == [
        (0, "word start", 8), (1, "word part", 8),
    ]  # fmt: skip
    assert study.query("select distinct first_content_index from token_depths") == [(0,)]
