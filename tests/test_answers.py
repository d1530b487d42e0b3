"""Which accepted answer a study follows, and how an answer is looked for in a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenscore.contexts.answers import answer_in_document, contains_an_answer, occurrence
from lenscore.contexts.words import terms
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
    assert found == (17, 20)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        # No spaces between words: whatever the neighbours are.
        ("黄色", "成熟的柠檬是黄色的，味道很酸。"),
        ("1937年", "大桥于1937年开通。"),
        ("1937", "大桥于1937年开通。"),
        ("东京", "他住在东京。"),
        ("レモン", "これはレモンです。"),
        ("ラーメン", "彼はラーメンを食べた。"),
        ("東京タワー", "ここは東京タワーです"),
        ("DNA", "これはDNAです"),
        ("กรุงเทพ", "เขาอยู่ที่กรุงเทพมานาน"),
        ("ភ្នំពេញ", "រាជធានីគឺភ្នំពេញនៃប្រទេស"),
        ("ວຽງຈັນ", "ຢູ່ວຽງຈັນແລ້ວ"),
        # Korean: particles are joined to the end of a word.
        ("서울", "그는 서울에서 산다."),
        ("서울", "수도는 서울이다."),
        ("서울", "서울에서는 비가 온다."),
        ("1937", "다리는 1937년에 열렸다."),
        ("DNA", "그것은 DNA입니다."),
        # A neighbour of another script that has spaces.
        ("Windows", "запуск Windowsом"),
        # Combining marks are part of their letter.
        ("हिन्दी", "यह हिन्दी है।"),
    ],
)
def test_neighbours_that_make_no_longer_word(answer: str, text: str) -> None:
    assert answer_in_document([answer], text) == answer
    assert contains_an_answer(text, [answer])


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("1960", "It was in the 1960s."),
        ("1960", "Form B1960 is green."),
        ("7", "大桥于1937年开通。"),
        ("lemon", "Zwei lemonen."),
        ("нев", "На берегах невы."),
        ("서울", "남서울은 크다."),  # a longer word
        ("물", "물고기가 있다."),  # what follows is no particle
        ("서울", "서울시장"),
        ("cafe", "a cafe\u0301 in town"),  # the last letter has an accent
        ("กา", "กา\u0e48"),  # a tone mark belongs to the last letter
        ("हिन", "यह हिन्दी है।"),
    ],
)
def test_a_part_of_a_longer_word_is_not_found(answer: str, text: str) -> None:
    assert occurrence(answer, text) is None
    assert not contains_an_answer(text, [answer])


@pytest.mark.parametrize(
    ("answer", "text", "found"),
    [
        ("Émile Zola", "It was E\u0301mile Zola.", "E\u0301mile Zola"),
        ("E\u0301mile Zola", "It was Émile Zola.", "Émile Zola"),
        ("Việt Nam", "ở Viê\u0323t Nam.", "Viê\u0323t Nam"),  # neither composed nor decomposed
        ("서울", "\u1109\u1165\u110b\u116e\u11af에서", "\u1109\u1165\u110b\u116e\u11af"),
        ("O'Neill", "Then O’Neill wrote.", "O’Neill"),
        ("O’Neill", "Then O'Neill wrote.", "O'Neill"),
        ("1914-1918", "The war (1914–1918) ended.", "1914–1918"),
        ("10 km", "It is 10\u202fkm long.", "10 km"),
        ('the "Rose"', "It is the “Rose” here.", "the “Rose”"),
        ("typewriter", "a type\u00adwriter stood", "type\u00adwriter"),
        ("café", "the cafe\u0301, too. The café.", "cafe\u0301"),
        ("ångström", "One ÅNGSTRÖM is short.", "ÅNGSTRÖM"),
    ],
)
def test_spellings_of_the_same_characters_meet(answer: str, text: str, found: str) -> None:
    assert answer_in_document([answer], text) == found
    place = occurrence(answer, text, any_case=True)
    assert place is not None
    assert " ".join(text[slice(*place)].split()) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Which lemon is a Lemon?", ["which", "lemon", "is", "lemon"]),
        ("大桥于1937年", ["大桥", "桥于", "1937", "年"]),
        ("東京タワー", ["東京", "京タ", "タワ", "ワー"]),
        ("서울은 DNA", ["서울", "울은", "dna"]),
        ("กิน", ["กิน"]),
        ("हिन्दी a cafe\u0301", ["हिन्दी", "café"]),
        ("", []),
    ],
)
def test_terms_of_a_search(text: str, found: list[str]) -> None:
    assert list(terms(text)) == found


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
