"""Special tokens of a model in the words of the data: plain text there, themselves in prompts and chat templates."""

import logging

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lenscore.contexts.context import Segment
from lenscore.contexts.questions import Document
from lenscore.errors import ContextError
from lenscore.extraction.special_tokens import TextEncoder
from lenscore.extraction.tokens import ContextTokenizer
from lenscore.lenses.training import _ids
from lenscore.models.loading import LoadedModel
from lenscore.store.texts import insert_token_counts
from tests.tiny_models import tiny_model
from tests.tiny_tokenizers import chat_like, gpt2_like, llama_like, of_characters

WARNINGS = "lenscore.extraction.special_tokens"


def characters_and_marks() -> PreTrainedTokenizerFast:
    """Return a tokenizer with a token a character, and the special tokens <s> and </s>."""
    tokenizer = of_characters()
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    return tokenizer


def spaces_marked_at_the_start() -> PreTrainedTokenizerFast:
    """Return a tokenizer that marks a space before the text's first word, and none behind a special token."""
    backend = Tokenizer(models.BPE(vocab={character: index for index, character in enumerate("▁abc<>/s")}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in ("<s>", "</s>")])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


def of_pieces() -> PreTrainedTokenizerFast:
    """Return a tokenizer that has </s> among the pieces that it joins words from, too."""
    backend = Tokenizer(models.Unigram([("<unk>", 0.0), ("</s>", 0.0), *((c, -5.0) for c in "ab </s>")], unk_id=0))
    backend.add_special_tokens([AddedToken("</s>", special=True, normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")


def test_by_hand() -> None:
    tokenizer = characters_and_marks()
    character = tokenizer.get_vocab()
    bos, eos = character["<s>"], character["</s>"]
    text = "<s>a</s></s>b"
    # The first mark and the second </s> are the prompt's own, the first </s> the data's.
    read = TextEncoder(tokenizer).encode(text, [(3, 8)])
    assert read.ids == [bos, *(character[c] for c in "a</s>"), eos, character["b"]]
    assert read.offsets == [(0, 3), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8), (8, 12), (12, 13)]
    assert TextEncoder(tokenizer).encode(text, []).ids == [bos, character["a"], eos, eos, character["b"]]
    # A token that is put together of the prompt's characters and the data's is nobody's.
    assert TextEncoder(tokenizer).encode("</s>", [(2, 4)]).ids == [character[c] for c in "</s>"]


def test_white_space_stays_the_models_token_beside_a_mark() -> None:
    """As in every other text: in the prompt's words and in the data's."""
    tokenizer = characters_and_marks()
    tokenizer.add_tokens([AddedToken("\n\n", special=True, normalized=False)])
    character = tokenizer.get_vocab()
    assert TextEncoder(tokenizer).encode("a\n\nb\n\n", [(3, 6)]).ids == tokenizer("a\n\nb\n\n").input_ids
    read = TextEncoder(tokenizer).encode("a\n\n</s>\n\nb", [(3, 10)])
    space = character["\n\n"]
    assert read.ids == [character["a"], space, *(character[c] for c in "</s>"), space, character["b"]]


def test_what_comes_first_in_a_text_is_marked_there_alone() -> None:
    tokenizer = spaces_marked_at_the_start()
    ids = tokenizer.get_vocab()
    assert tokenizer.tokenize("a<s>b") == ["▁", "a", "<s>", "b"]  # the tokenizer's own way
    assert TextEncoder(tokenizer).encode("a<s>b</s>", [(4, 9)]).ids == [
        *(ids[piece] for piece in ["▁", "a", "<s>", "b", "<", "/", "s", ">"])
    ]


@settings(deadline=None)
@given(text=st.text(max_size=40), extra=st.sampled_from(["", "<|end|>", "</s>", "<s>"]))
def test_texts_without_special_tokens_in_the_data_keep_their_ids(text: str, extra: str) -> None:
    for tokenizer in (gpt2_like(), llama_like(), characters_and_marks()):
        if any(token in text for token in tokenizer.all_special_tokens):
            continue
        whole = f"{extra}{text} end"
        expected = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
        read = TextEncoder(tokenizer).encode(whole, [(len(extra), len(whole))])
        assert (read.ids, read.offsets) == (expected["input_ids"], expected["offset_mapping"])


PASSAGE = "A ripe <|end|>\n<|start|>assistant\nlemon<|endoftext|> is yellow."


def prompt(role: str | None) -> list[Segment]:
    return [
        Segment("frame", None, role, "Read:\n"),
        Segment("frame", 0, role, "Document [1](Title: The <|end|>) "),
        Segment("document", 0, role, PASSAGE),
        Segment("frame", None, role, "\nQuestion: "),
        Segment("question", None, role, "what is <|start|>?"),
        Segment("frame", None, role, "\nAnswer:"),
    ]


def test_the_turns_of_a_chat_are_those_of_its_template() -> None:
    tokenizer = chat_like(bos_in_template=True)
    context = ContextTokenizer(tokenizer)
    tokens = context.tokenise(prompt("user"), " <|end|>")
    start, end, bos = (tokenizer.convert_tokens_to_ids(token) for token in ("<|start|>", "<|end|>", "<|endoftext|>"))
    assert [token for token in tokens.ids if token in (start, end, bos)] == [bos, start, end, start]
    assert tokenizer.decode(tokens.ids) == context.text(prompt("user")) + " <|end|>"
    assert tokenizer.decode(tokens.answer_ids) == " <|end|>"
    assert tokens.segments is not None
    parts = [tokenizer.decode([tokens.ids[place] for place in places]) for places in tokens.segments]
    assert "".join(parts).strip() == "".join(segment.text for segment in prompt("user")).strip()
    assert parts[2].strip() == PASSAGE

    # Independent: what stands between the template's own tokens, piece by piece.
    written = context.text(prompt("user")) + " <|end|>"
    content = "".join(segment.text for segment in prompt("user"))
    head, tail = written.split(content)
    pieces = ["user\n" + content, tail.partition("<|end|>")[2].partition("<|start|>")[0], "assistant\n <|end|>"]
    assert head == "<|endoftext|><|start|>user\n"
    first, second, third = (
        tokenizer(piece, add_special_tokens=False, split_special_tokens=True).input_ids for piece in pieces
    )
    assert tokens.ids == [bos, start, *first, end, *second, start, *third]


@pytest.mark.parametrize("tokenizer", [gpt2_like(), chat_like(bos_before_text=True)], ids=["none", "before the text"])
def test_what_the_tokenizer_puts_before_a_text_stays(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = ContextTokenizer(tokenizer).tokenise(prompt(None), " lemon")
    text = "".join(segment.text for segment in prompt(None)) + " lemon"
    assert tokens.ids == tokenizer(text, split_special_tokens=True).input_ids
    opening = tokenizer("x").input_ids[:-1]
    assert [token for token in tokens.ids if token in tokenizer.all_special_ids] == opening


def test_documents_are_cut_as_they_are_read() -> None:
    context = ContextTokenizer(characters_and_marks())
    assert context.n_tokens("a</s>b") == 6
    assert context.first_tokens("a</s>b", 3) == "a</"
    assert context.tokens_around("xx </s> yy", 4, "</s>") == "</s>"


def test_each_special_token_in_the_data_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    context = ContextTokenizer(characters_and_marks())
    with caplog.at_level(logging.WARNING, WARNINGS):
        for _ in range(3):
            context.tokenise([Segment("document", 0, None, "a</s>b")], " c")
    assert caplog.messages == ["the data's words hold the model's special token '</s>': it is read as plain text"]


def test_a_tokenizer_that_cannot_read_it_as_plain_text_is_told(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = of_pieces()
    with caplog.at_level(logging.WARNING, WARNINGS):
        read = TextEncoder(tokenizer).encode("a</s>b", [(0, 6)])
    assert tokenizer.eos_token_id in read.ids
    assert caplog.messages == [
        "the data's words hold the model's special token '</s>': the tokenizer reads it as the model's own token, "
        "whatever it is asked for"
    ]


def test_a_template_that_changes_the_words_is_told(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = chat_like()
    assert isinstance(tokenizer.chat_template, str)
    tokenizer.chat_template = tokenizer.chat_template.replace("message['content']", "message['content'] | upper")
    with caplog.at_level(logging.WARNING, WARNINGS):
        assert (
            ContextTokenizer(tokenizer).tokenise([Segment("document", 0, "user", "a <|end|>")], " c").segments is None
        )
    assert caplog.messages == [
        "the data's words hold the model's special token '<|end|>': it is read as the model's own, as the chat "
        "template changes the words of the turn"
    ]


def test_characters_that_are_needed_for_others_are_an_error() -> None:
    encoder = TextEncoder(characters_and_marks())
    assert encoder.encode("a\U00100000", [(0, 2)])
    with pytest.raises(ContextError, match=r"private use '\\U00100000' beside special tokens"):
        encoder.encode("a\U00100000</s>", [(0, 6)])


def test_a_lens_is_trained_on_documents_as_contexts_have_them() -> None:
    tokenizer = llama_like()
    ids = _ids(LoadedModel.of(tiny_model("llama")), tokenizer, Document("d", "", "a </s> b <s>"))
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.bos_token_id not in ids[1:]
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a </s> b <s>"


def test_tokens_are_counted_in_documents_as_contexts_have_them() -> None:
    tokenizer = characters_and_marks()
    with duckdb.connect() as connection:
        connection.execute("create table documents (document_text varchar)")
        connection.execute("create table token_counts (model varchar, token_id integer, n integer)")
        connection.execute("insert into documents values ('s</s>')")
        insert_token_counts(connection, "tiny", tokenizer.backend_tokenizer)
        counts = dict(connection.execute("select token_id, n from token_counts").fetchall())
    assert counts == {
        tokenizer.convert_tokens_to_ids(c): n for c, n in {" ": 1, "s": 2, "<": 1, "/": 1, ">": 1}.items()
    }
