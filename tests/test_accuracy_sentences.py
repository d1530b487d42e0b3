"""What verdicts are read beside: sentences on first tokens, closed book and white space, against their rows."""

from typing import Any

import pytest

from lenscore.report.page.accuracy_sentences import (
    about_accuracy,
    accuracy_sentences,
    no_curve_sentences,
    white_space_sentences,
)
from lenscore.report.page.sentences import verdict_sentences

SETTINGS = {"confidence": 0.95, "first_token": "content"}


def row(place: int | None, mean: float, above: float | None, low: float | None, **other: Any) -> dict[str, Any]:
    return {
        "model": "m", "context_set": "main", "lens": "logit", "condition": "documents", "n_documents": 5,
        "gold_index": place, "measure": "first_token", "mean": mean, "above_closed_book": above, "above_low": low,
        "above_high": 0.9, **other,
    }  # fmt: skip


def test_places_where_the_model_is_right_no_more_often_than_closed_book_are_named() -> None:
    rows = [row(0, 0.1, -0.02, -0.1), row(2, 0.16, 0.04, 0.0), row(3, 0.14, 0.02, -0.05), row(4, 0.5, 0.38, 0.2)]
    assert about_accuracy(rows, 0.12, SETTINGS) == (
        "m, 5 documents: the answer's first content token is not shown to be right more often than without documents "
        "with the gold document at places 1, 3 and 4 of 5 (−2, +4 and +2 percentage points; each 95% interval reaches "
        "0 or lies below); it is so at place 5 of 5 (+38 percentage points). Without documents it is right in 12%."
    )


def test_where_all_places_are_alike_there_is_one_part() -> None:
    low, high = [row(0, 0.1, -0.001, -0.1)], [row(0, 0.3, 0.01, 0.005), row(4, 0.5, 0.2, 0.1)]
    settings = {"confidence": 0.9, "first_token": "any"}
    assert "the answer's first token is not shown to be right more often" in about_accuracy(low, 0.1, settings)
    assert "at place 1 of 5 (0 percentage points; each 90% interval" in about_accuracy(low, 0.1, settings)
    assert about_accuracy(high, 0.1, SETTINGS) == (
        "m, 5 documents: the answer's first content token is right more often than without documents with the gold "
        "document at places 1 and 5 of 5 (+1 and +20 percentage points). Without documents it is right in 10%."
    )


def test_without_closed_book_the_shares_alone_are_said() -> None:
    rows = [row(0, 0.1, None, None), row(4, 0.5, None, None)]
    assert about_accuracy(rows, None, SETTINGS) == (
        "m, 5 documents: the answer's first content token is right in 10% to 50% of the contexts, over the "
        "places of the gold document; the study has no closed book to compare with."
    )


def test_a_model_without_a_curve_is_named_with_how_many_tokens_are_right() -> None:
    """By hand: 2 places of 10 tokens, of which a tenth and a fifth are right: 3 of 20; with both lengths 6 of 40."""
    primary = {"measure": "soft_depth", "tokens": "content", "population": "every_position", "lens": "logit"}
    rows = [
        row(place, mean, None, None, model=model, n_documents=n, lens=lens, measure="answer_tokens", n_tokens=10,
            relative_position=place / 4)
        for model in ("trained", "untrained") for lens in ("logit", "trimmed") for n in (5, 10)
        for place, mean in ((0, 0.1), (4, 0.2))
    ]  # fmt: skip
    of_first = [{**one, "measure": "first_token", "mean": 0.9} for one in rows]
    alone = [{**one, "model": "alone", "n_documents": 1, "relative_position": None} for one in rows[:1]]
    control = [{**one, "model": "control", "condition": "shuffled_gold"} for one in rows[:1]]
    curves = [{"model": "trained", "context_set": "main", "n_documents": n} for n in (5, 10)]
    everything = [*rows, *of_first, *alone, *control]
    (sentence,) = no_curve_sentences(everything, curves, primary)
    assert (sentence["model"], sentence["lens"]) == ("untrained", "")
    assert sentence["words"] == (
        "untrained: there is no curve of soft depth (content tokens, the same everywhere) with 5 documents and 10 "
        "documents, since no answer token counts for it: of 40 answer tokens in these contexts 6 are right at the last "
        "layer."
    )
    assert verdict_sentences([], [sentence]) == [sentence]
    (shorter, _) = no_curve_sentences(everything, curves[1:], primary)
    assert "with 5 documents, since" in shorter["words"]
    assert "of 20 answer tokens in these contexts 3 are right" in shorter["words"]


def test_each_length_has_one_sentence_whatever_the_lenses() -> None:
    closed = row(None, 0.2, None, None, condition="closed_book", n_documents=0)
    rows = [
        row(place, 0.3, 0.1, 0.05, lens=lens, n_documents=n)
        for lens in ("logit", "tuned") for n in (5, 10) for place in (0, 4)
    ]  # fmt: skip
    others = [row(0, 0.9, 0.1, 0.05, measure="answer_tokens"), row(0, 0.9, 0.1, 0.05, condition="shuffled_gold")]
    sentences = accuracy_sentences([closed, *rows, *others], SETTINGS)
    assert [(sentence["n_documents"], sentence["lens"]) for sentence in sentences] == [(5, ""), (10, "")]
    assert "at places 1 and 5 of 10 (+10 and +10 percentage points)" in sentences[1]["words"]
    assert all(sentence["words"].endswith("in 20%.") for sentence in sentences)


CLASSES = [
    {"model": "m", "context_set": "main", "token_class": name, "n_tokens": n, "n_opening": opening}
    for name, n, opening in (("digit", 20, 0), ("space", 5, 4), ("word start", 35, 20))
]


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ("content", "First tokens are therefore the first with a letter or digit."),
        ("any", "They count among first tokens, since analysis.first_token is any."),
    ],
)
def test_targets_that_are_white_space_are_counted(first: str, says: str) -> None:
    other = [{**row, "model": "n"} for row in CLASSES if row["token_class"] != "space"]
    assert white_space_sentences([*CLASSES, *other], {"first_token": first}) == [
        "m: white space alone is the target of 5 of 60 answer tokens, and of the very first token of 4 of 24 answers. "
        + says
    ]
