"""Which accepted answer a study follows, and how an answer is looked for in a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenscore.contexts.answers import answer_in_document, contains_an_answer, occurrence
from lenscore.errors import ContextError

TEXT = "The chief engineer was Joseph Strauss,\nwho had campaigned for years; Charles Ellis did the calculation."


@pytest.mark.parametrize(
    ("answers", "text", "found"),
    [
        (["Joseph Strauss", "Charles Ellis"], TEXT, "Joseph Strauss"),
        (["Charles Ellis", "Joseph Strauss"], TEXT, "Charles Ellis"),  # the first accepted, not the first in the text
        (["Strauss the engineer", "Strauss"], TEXT, "Strauss"),
        # Whole words only.
        (["8", "18"], "In 1890 it had 18 arches.", "18"),
        (["art", "cartoon"], "A cartoon of a party.", "cartoon"),
        (["eight"], "It weighs eight-tenths of a ton.", "eight"),
        # To the letter before any other case; then in the document's own letters.
        (["strauss", "Charles Ellis"], TEXT, "Charles Ellis"),
        (["CHARLES ELLIS"], TEXT, "Charles Ellis"),
        (["us", "US"], "The US joined us.", "us"),
        (["uS"], "The US joined us.", "US"),
        # White space of any kind and length.
        (["engineer  was"], TEXT, "engineer was"),
        (["Joseph Strauss"], "It was Joseph\n   Strauss.", "Joseph Strauss"),
        ([" Joseph Strauss\t"], "It was Joseph\u00a0Strauss.", "Joseph Strauss"),
        # Letters beyond ASCII, and words of other scripts.
        (["Ångström"], "Named after Ångström, a physicist.", "Ångström"),
        (["ÉMILE ZOLA"], "It was Émile Zola.", "Émile Zola"),
        (["Нева", "нева"], "На берегах реки НЕВА.", "НЕВА"),
        (["mil", "millón"], "Cuesta un millón.", "millón"),
        # Characters that mean something in a pattern.
        (["C++"], "It was written in C++ at first.", "C++"),
        (["$5.00"], "It cost $5.00 then.", "$5.00"),
        (["5.00"], "It cost 5x00 then, later 5.00.", "5.00"),
        (["(Not) a Song"], "It was (Not) a Song that led.", "(Not) a Song"),
        (["[a|b]*"], "The pattern [a|b]* is short.", "[a|b]*"),
        (["St. Louis"], "It lies near Stx Louis and St. Louis.", "St. Louis"),
    ],
)  # fmt: skip
def test_answer_in_document(answers: list[str], text: str, found: str) -> None:
    assert answer_in_document(answers, text) == found


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (["Ellis Charles"], TEXT),
        (["8"], "In 1890."),
        (["Strauss Jr"], TEXT),
        ([""], TEXT),
        ([" "], TEXT),
        ([], TEXT),
        (["a.c"], "abc"),
        (["Joseph Strauss"], "Joseph-Strauss"),
    ],
)
def test_answer_that_does_not_occur(answers: list[str], text: str) -> None:
    with pytest.raises(ContextError) as raised:
        answer_in_document(answers, text)
    assert str(answers) in str(raised.value)
    assert not contains_an_answer(text, answers)


def test_first_occurrence_is_the_one_found() -> None:
    found = occurrence("red", "A bored man wore red, and red again.")
    assert found is not None
    assert found.span() == (17, 20)


@pytest.mark.parametrize(
    ("text", "holds"),
    [("THE ANSWER IS JOSEPH  STRAUSS.", True), ("Josephine Strauss", False), ("strauss of vienna", False), ("", False)],
)
def test_distractors_are_searched_in_any_case(text: str, holds: bool) -> None:
    assert contains_an_answer(text, ["Charles Ellis", "Joseph Strauss"]) is holds


WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=6)


@given(st.lists(WORDS, min_size=1, max_size=4), st.sampled_from([" ", "\n", "  ", "\t "]))
def test_answer_between_spaces_is_found_with_its_own_letters(words: list[str], space: str) -> None:
    text = f"before {space.join(words)} after"
    assert answer_in_document([" ".join(words)], text) == " ".join(words)
