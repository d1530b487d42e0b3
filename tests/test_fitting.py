"""Contexts and the model's window, mostly with a token a character, so that the cuts can be worked by hand."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenscore.contexts.answers import occurrence
from lenscore.contexts.context import Condition, Context, Segment
from lenscore.errors import ContextError
from lenscore.extraction.fitting import FittedContext, fit_question
from lenscore.extraction.tokens import ContextTokenizer
from lenscore.study.run_settings import Overflow
from tests.tiny_tokenizers import gpt2_like, llama_like, of_characters

CHARACTERS = ContextTokenizer(of_characters())

# Twenty characters each; the answer XY is at places 8 and 9 of the gold document.
GOLD = "abcdefg-XY-hijklmnop"
OTHERS = ["1" * 20, "2" * 20, "3" * 20]
ANSWER = " XY"


def context(documents: Sequence[str], gold: str | None, answer: str = ANSWER, before: str = "") -> Context:
    """Return a context of 4 + its length characters a document, 2 for the question, and the answer's."""
    gold_index = None if gold is None else documents.index(gold)
    condition: Condition = "closed_book" if gold is None else "oracle" if len(documents) == 1 else "documents"
    segments = [Segment("frame", None, None, before)]
    for place, document in enumerate(documents):
        segments.append(Segment("frame", place, None, f"\n[{place}]"))
        segments.append(Segment("document", place, None, document))
    segments.append(Segment("question", None, None, "Q?"))
    return Context(
        context_id=f"{condition}/{len(documents)}/{gold_index}",
        context_set="main",
        question_id="q",
        question_place=0,
        condition=condition,
        n_documents=len(documents),
        distractor_order=0,
        gold_index=gold_index,
        relative_position=None,
        segments=tuple(segments),
        answer=answer,
        document_ids=(),
    )


def at_all_positions(n: int, gold: str = GOLD, others: Sequence[str] = OTHERS, answer: str = ANSWER) -> list[Context]:
    around = others[: n - 1]
    return [context([*around[:place], gold, *around[place:]], gold, answer) for place in range(n)]


CONTEXTS = [context([], None), context([GOLD], GOLD), *at_all_positions(2), *at_all_positions(4)]
# In tokens: closed_book 5, oracle 29, two documents 53, four documents 101.
SIZES = [5, 29, 53, 53, 101, 101, 101, 101]


def documents_of(fitted: FittedContext) -> list[str]:
    """Return a fitted context's documents as the model reads them."""
    assert fitted.tokens is not None
    text = "".join(CHARACTERS.token_text(token) for token in fitted.tokens.ids)
    assert text.endswith(f"Q?{fitted.context.answer}")
    return [part[3:] for part in text.removesuffix(f"Q?{fitted.context.answer}").split("\n")[1:]]


@pytest.mark.parametrize("action", ["error", "skip", "truncate_documents"])
@pytest.mark.parametrize("window", [None, 101, 4000])
def test_contexts_that_fit_stay_whole(action: str, window: int | None) -> None:
    fitted = fit_question(CONTEXTS, CHARACTERS, Overflow(action), window)
    assert [one.context for one in fitted] == CONTEXTS
    assert [one.n_tokens for one in fitted] == SIZES
    assert {(one.fit, one.n_tokens_cut, one.reason) for one in fitted} == {("whole", 0, None)}
    assert documents_of(fitted[3]) == [OTHERS[0], GOLD]
    assert fitted[3].tokens == CHARACTERS.tokenise(CONTEXTS[3].segments, ANSWER)


def test_error_names_the_longest_context_and_the_window() -> None:
    with pytest.raises(ContextError) as raised:
        fit_question(CONTEXTS, CHARACTERS, Overflow("error"), 100)
    message = str(raised.value)
    assert message.startswith("context documents/4/0 has 101 tokens, but the model's window is 100: ")
    assert "skip or truncate_documents" in message


def test_skip_leaves_out_that_number_of_documents_and_keeps_the_others() -> None:
    fitted = fit_question(CONTEXTS, CHARACTERS, Overflow("skip"), 100)
    assert [one.fit for one in fitted] == ["whole"] * 4 + ["skipped"] * 4
    assert [one.tokens is None for one in fitted] == [False] * 4 + [True] * 4
    assert [one.n_tokens for one in fitted] == SIZES
    assert {one.n_tokens_cut for one in fitted} == {0}
    assert {one.reason for one in fitted[4:]} == {"longer than the window of 100 tokens at one position or more"}


@pytest.mark.parametrize("place", range(4))
def test_skip_leaves_out_every_position_where_one_alone_is_too_long(place: int) -> None:
    contexts = [*at_all_positions(2), *at_all_positions(4)]
    contexts[2 + place] = context([s.text for s in contexts[2 + place].segments if s.kind == "document"],
                                  GOLD, before="!")  # fmt: skip
    fitted = fit_question(contexts, CHARACTERS, Overflow("skip"), 101)
    assert [one.fit for one in fitted] == ["whole"] * 2 + ["skipped"] * 4


def test_skip_keeps_one_document_apart_from_the_oracle() -> None:
    contexts = [context([GOLD], GOLD), replace(context([GOLD], GOLD, before="!"), condition="documents")]
    assert [one.fit for one in fit_question(contexts, CHARACTERS, Overflow("skip"), 29)] == ["whole", "skipped"]


def test_truncate_cuts_every_context_of_the_question_to_one_budget() -> None:
    # Four documents leave 61 − (101 − 80) = 40 tokens, 10 a document.
    fitted = fit_question(CONTEXTS, CHARACTERS, Overflow("truncate_documents"), 61)
    assert [one.fit for one in fitted] == ["whole"] + ["cut"] * 7
    assert [one.n_tokens for one in fitted] == [5, 19, 33, 33, 61, 61, 61, 61]
    assert [one.n_tokens_cut for one in fitted] == [0, 10, 20, 20, 40, 40, 40, 40]
    gold, first, second, third = "efg-XY-hij", "1" * 10, "2" * 10, "3" * 10
    assert [documents_of(one) for one in fitted] == [
        [],
        [gold],
        [gold, first],
        [first, gold],
        [gold, first, second, third],
        [first, gold, second, third],
        [first, second, gold, third],
        [first, second, third, gold],
    ]
    assert all(one.context is original for one, original in zip(fitted, CONTEXTS, strict=True))


def test_truncate_leaves_shorter_documents_as_they_are() -> None:
    # 8 of the 50 tokens are frames, 5 question and answer; the short documents take 4 and 6, 20 are left for the long.
    short = ["4444", "-XY-66"]
    contexts = [context([*short, "7" * 40], short[1]), context([short[1]], short[1])]
    cut, oracle = fit_question(contexts, CHARACTERS, Overflow("truncate_documents"), 47)
    assert documents_of(cut) == [*short, "7" * 20]
    assert (cut.fit, cut.n_tokens, cut.n_tokens_cut) == ("cut", 47, 20)
    assert (oracle.fit, oracle.n_tokens_cut) == ("whole", 0)


def test_truncate_keeps_an_answer_that_is_longer_than_the_budget() -> None:
    gold = "abcdefgWXYZhijklmnop".replace("WXYZ", " WXYZ ")
    contexts = at_all_positions(3, gold, answer=" WXYZ")
    # 12 + 2 + 5 tokens are not the documents'. Of 28, 9 are left: 3 each, but the answer takes 4, so 2 for the others.
    fitted = fit_question(contexts, CHARACTERS, Overflow("truncate_documents"), 28)
    assert [documents_of(one) for one in fitted] == [["WXYZ", "11", "22"], ["11", "WXYZ", "22"], ["11", "22", "WXYZ"]]
    assert {one.n_tokens for one in fitted} == {27}


@pytest.mark.parametrize("window", range(30, 102))
def test_truncate_uses_the_window(window: int) -> None:
    fitted = fit_question(CONTEXTS, CHARACTERS, Overflow("truncate_documents"), window)
    longest = max(one.n_tokens for one in fitted)
    assert window - 4 < longest <= window, "a token more for each of four documents would not fit"
    assert len({one.n_tokens for one in fitted[4:]}) == 1


def test_cut_from_the_start_keeps_an_answer_that_is_there() -> None:
    # Ten tokens a document end with the answer.
    fitted = fit_question(CONTEXTS, CHARACTERS, Overflow("truncate_documents", "start"), 61)
    assert [one.fit for one in fitted] == ["whole"] + ["cut"] * 7
    assert documents_of(fitted[2]) == ["abcdefg-XY", "1" * 10]


def test_cut_from_the_start_skips_the_question_whose_answer_is_lost() -> None:
    fitted = fit_question(CONTEXTS, CHARACTERS, Overflow("truncate_documents", "start"), 57)
    assert [one.fit for one in fitted] == ["whole"] + ["skipped"] * 7
    assert {one.tokens is None for one in fitted[1:]} == {True}
    assert [one.n_tokens for one in fitted] == SIZES, "as wanted"
    assert {one.n_tokens_cut for one in fitted} == {0}
    assert {one.reason for one in fitted[1:]} == {"the answer is not among the first 9 tokens of the gold document"}


def test_part_of_a_word_is_not_the_answer() -> None:
    # The first ten characters end in "XY", but of the word "XYZ"; the answer comes later.
    gold = "abcdefg-XYZ-XY-ijklm"
    contexts = at_all_positions(4, gold)
    fitted = fit_question(contexts, CHARACTERS, Overflow("truncate_documents", "start"), 65)
    assert {one.fit for one in fitted} == {"skipped"}
    fitted = fit_question(contexts, CHARACTERS, Overflow("truncate_documents", "answer"), 61)
    assert documents_of(fitted[0])[0] == "XYZ-XY-ijk"


@pytest.mark.parametrize("cut", ["answer", "start"])
@pytest.mark.parametrize(
    ("contexts", "window", "named"),
    [
        (CONTEXTS, 24, "documents/4/0"),  # 21 without the documents' words, and a token each
        (CONTEXTS, 10, "documents/4/0"),
        ([context([], None, before="x" * 60)], 50, "closed_book/0/None"),
    ],
)
def test_nothing_fits(contexts: list[Context], window: int, named: str, cut: str) -> None:
    with pytest.raises(ContextError) as raised:
        fit_question(contexts, CHARACTERS, Overflow("truncate_documents", cut), window)
    assert str(raised.value).startswith(f"context {named} does not fit the window of {window} tokens even with its ")


def test_document_in_place_of_the_gold_one_is_cut_as_the_others_are() -> None:
    # It has no answer to be kept, although it has the gold document's index and, here, its words.
    contexts = [replace(one, condition="shuffled_gold") for one in at_all_positions(2)]
    for cut in ("answer", "start"):
        fitted = fit_question(contexts, CHARACTERS, Overflow("truncate_documents", cut), 27)
        assert [documents_of(one) for one in fitted] == [["abcdefg", "1" * 7], ["1" * 7, "abcdefg"]]


TRAINED = [(gpt2_like(), ContextTokenizer(gpt2_like())), (llama_like(), ContextTokenizer(llama_like()))]
WORD = st.sampled_from(
    ["lemon", "lemonade", "yellow", "1937", "bridges", "Zürich", "🍋🍋", "日本", "(unripe)", '"x"', "a"]
)
DOCUMENT = st.lists(WORD, min_size=1, max_size=30).map(" ".join)


@settings(deadline=None, max_examples=60)
@given(
    others=st.lists(DOCUMENT, min_size=3, max_size=3, unique=True),
    around=st.tuples(DOCUMENT, DOCUMENT),
    window=st.integers(20, 500),
    cut=st.sampled_from(["answer", "start"]),
)
def test_cut_contexts_fit_and_are_alike(others: list[str], around: tuple[str, str], window: int, cut: str) -> None:
    gold = f"{around[0]} Joseph Strauß {around[1]}"
    contexts = [
        context([gold], gold, " Joseph Strauß"),
        *at_all_positions(2, gold, others, " Joseph Strauß"),
        *at_all_positions(4, gold, others, " Joseph Strauß"),
    ]
    for own, tokenizer in TRAINED:
        try:
            fitted = fit_question(contexts, tokenizer, Overflow("truncate_documents", cut), window)
        except ContextError:
            assert window < 100, "frames, question, answer and a few tokens a document fit a hundred"
            continue
        kept = [one for one in fitted if one.tokens is not None]
        if cut == "answer":
            assert len(kept) == len(contexts)
        # All contexts that have the gold document cut lose it together.
        assert len(kept) in (0, 7)
        versions: dict[str, set[str]] = {text: set() for text in (gold, *others)}
        for one in kept:
            assert one.tokens is not None
            assert len(one.tokens.ids) == one.n_tokens <= window
            original = own("".join(segment.text for segment in one.context.segments) + one.context.answer).input_ids
            assert one.n_tokens_cut == len(original) - one.n_tokens
            assert (one.fit == "whole") == (one.tokens.ids == original)
            text = own.decode(one.tokens.ids, skip_special_tokens=True)
            assert text.endswith("Q? Joseph Strauß")
            read = text.removesuffix("Q? Joseph Strauß").split("\n[")[1:]
            wanted = [segment.text for segment in one.context.segments if segment.kind == "document"]
            for document, part in zip(wanted, read, strict=True):
                versions[document].add(part[2:])
                assert part[2:] in document
        for document, found in versions.items():
            assert len(found) <= 1, "the same document in the same words in every context"
            assert document != gold or all(occurrence("Joseph Strauß", text) for text in found)
