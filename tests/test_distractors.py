"""Which documents surround the gold one."""

import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from lenscore.contexts.distractors import DistractorSource
from lenscore.contexts.questions import Document, Question
from lenscore.errors import ContextError


def question(
    identity: str,
    asked: str,
    answers: Sequence[str],
    title: str,
    text: str,
    own: Sequence[tuple[str, str]] = (),
) -> Question:
    return Question(
        identity,
        asked,
        tuple(answers),
        None,
        Document(identity, title, text),
        tuple(Document(f"{identity}/{i}", *document) for i, document in enumerate(own)),
    )


ASKED = "which lemon tree gives sour yellow lemon fruit"
# Words of two letters or more, none so common that a search would leave it out.
POOL = [
    question("gold", ASKED, ["Citrus limon"], "Lemon", "Sour lemon fruit grows upon Citrus limon, small tree."),
    question("holds", "asked", ["x"], "Citrus", "Yellow lemon: citrus LIMON gives sour yellow lemon fruit."),
    question("titled", "asked", ["x"], "citrus limon", "Yellow lemon fruit, sour yellow lemon fruit, lemon tree."),
    question("stone", "asked", ["x"], "Granite", "Granite hard stone, quartz, feldspar, mica."),
    question("orange", "asked", ["x"], "Orange tree", "Sweet orange fruit grows upon evergreen tree."),
    question("banana", "asked", ["x"], "Banana", "Yellow banana, long yellow fruit."),
    question("twice", "asked", ["x"], "Banana again", "Yellow banana, long yellow fruit."),
    question(
        "lime", "asked", ["x"], "Lime", "Green lime, sour fruit, smaller than lemon, juice sour like lemon juice."
    ),
    question("oak", "asked", ["x"], "Oak", "Oak, broad old tree, acorns, bark, leaves, shade, timber, beams, ships."),
    question("iron", "asked", ["x"], "Iron", "Iron rusts."),
    question("quince", "asked", ["x"], "Quince", "Quince: yellow fruit, sour raw, cooked sweet; small tree."),
]
GOLD = POOL[0]


def plain_bm25(query: str, texts: Sequence[str]) -> list[float]:
    """Lucene's BM25 with k1 = 1.5 and b = 0.75, word by word."""
    documents = [Counter(re.findall(r"\w\w+", text.lower())) for text in texts]
    lengths = [sum(document.values()) for document in documents]
    average = sum(lengths) / len(lengths)
    scores = [0.0] * len(texts)
    for word in re.findall(r"\w\w+", query.lower()):
        having = sum(word in document for document in documents)
        idf = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
        for i, document in enumerate(documents):
            tf = document[word]
            scores[i] += idf * tf / (tf + 1.5 * (1 - 0.75 + 0.75 * lengths[i] / average))
    return scores


def ids(documents: Sequence[Document]) -> list[str]:
    return [document.document_id for document in documents]


def test_bm25_ranks_as_plain_bm25_does() -> None:
    scores = plain_bm25(ASKED, [f"{q.gold.title} {q.gold.text}" for q in POOL if q.gold])
    ranked = sorted(range(len(POOL)), key=lambda i: -scores[i])
    positive = sorted({score for score in scores if score > 0})
    assert all(upper - lower > 1e-3 for lower, upper in pairwise(positive)), "a tie decides nothing"
    wanted = [POOL[i].question_id for i in ranked]
    # The texts that hold the answer would rank first; of two equal texts the better ranked is taken.
    assert set(wanted[:3]) == {"gold", "holds", "titled"}
    equal = sorted(("banana", "twice"), key=wanted.index)[1]
    wanted = [identity for identity in wanted if identity not in ("gold", "holds", "titled", equal)]
    assert wanted[-2:] == ["stone", "iron"], "without a word of the question: in the dataset's order"

    assert ids(DistractorSource("bm25", POOL, 0).distractors_of(GOLD, 7).documents) == wanted


def test_bm25_ranks_as_plain_bm25_does_on_many_pools() -> None:
    draw = random.Random(0)
    words = ["lemon", "lime", "orange", "banana", "granite", "quartz", "oak", "ash", "iron", "copper"]
    for _ in range(100):
        texts = [" ".join(draw.choices(words, k=draw.randint(2, 25))) + f" number{i}" for i in range(12)]
        pool = [question(str(i), "asked", ["x"], "", text) for i, text in enumerate(texts)]
        asked = " ".join(draw.choices(words, k=3))
        found = DistractorSource("bm25", pool, 0).distractors_of(replace(pool[0], question=asked), 11).documents
        scores = plain_bm25(asked, texts)
        ranked = [scores[int(document.document_id)] for document in found]
        assert all(better > worse - 1e-5 for better, worse in pairwise(ranked))


@pytest.mark.parametrize("method", ["bm25", "random"])
def test_gold_answers_and_repeated_texts_are_never_distractors(method: str) -> None:
    for seed in range(20):
        found = DistractorSource(method, POOL, seed).distractors_of(GOLD, 7).documents
        assert len({document.text for document in found}) == 7
        assert not {"gold", "holds", "titled"} & set(ids(found))
        assert {"banana", "twice"} - set(ids(found))


@pytest.mark.parametrize("method", ["bm25", "random"])
def test_gold_text_under_another_title_is_never_a_distractor(method: str) -> None:
    double = replace(GOLD, question_id="double", answers=("x",), gold=Document("double", "Other", GOLD.gold.text))
    asked = replace(GOLD, answers=("Granada",))  # so that no answer keeps the double out
    assert "double" not in ids(
        DistractorSource(method, [asked, *POOL[1:], double], 0).distractors_of(asked, 9).documents
    )


def test_fewer_are_a_prefix_of_more() -> None:
    for method in ("bm25", "random"):
        source = DistractorSource(method, POOL, 3)
        whole = source.distractors_of(GOLD, 7).documents
        assert [source.distractors_of(GOLD, count).documents for count in range(8)] == [
            whole[:count] for count in range(8)
        ]


def test_bm25_without_a_known_word_takes_the_dataset_s_order() -> None:
    for asked in ("zebra", "?", "who is the"):
        found = DistractorSource("bm25", POOL, 0).distractors_of(replace(POOL[3], question=asked), 4).documents
        assert ids(found) == ["gold", "holds", "titled", "orange"]


def test_bm25_puts_equal_scores_in_the_dataset_s_order() -> None:
    pool = [
        question(f"q{i}", "which lemon", ["x"], "", f"lemon number{i}" if i % 3 else f"lime number{i}")
        for i in range(90)
    ]
    lemons, limes = [f"q{i}" for i in range(1, 90) if i % 3], [f"q{i}" for i in range(3, 90) if i % 3 == 0]
    assert ids(DistractorSource("bm25", pool, 0).distractors_of(pool[0], 89).documents) == lemons + limes


def test_bm25_of_documents_without_words() -> None:
    pool = [question(str(i), "who", ["x"], "", text) for i, text in enumerate(("...", "!", "the"))]
    assert ids(DistractorSource("bm25", pool, 0).distractors_of(pool[0], 2).documents) == ["1", "2"]


def many(count: int) -> list[Question]:
    return [question(f"q{i}", f"asked {i}", [f"answer{i}"], f"Title {i}", f"Text number {i}.") for i in range(count)]


def test_random_depends_on_seed_and_question() -> None:
    pool = many(40)
    orders = {
        (seed, asked.question_id): tuple(
            ids(DistractorSource("random", pool, seed).distractors_of(asked, 39).documents)
        )
        for seed in (0, 1)
        for asked in pool[:3]
    }
    others = [tuple(identity for identity in order if identity not in ("q0", "q1", "q2")) for order in orders.values()]
    assert len(set(others)) == 6
    assert orders[0, "q0"] == tuple(ids(DistractorSource("random", pool, 0).distractors_of(pool[0], 39).documents))
    # Each other document comes first about as often: 400 draws of 39.
    firsts = Counter(
        DistractorSource("random", pool, seed).distractors_of(pool[0], 1).documents[0].document_id
        for seed in range(400)
    )
    assert len(firsts) == 39
    assert max(firsts.values()) < 30


def test_random_order_of_old_documents_survives_new_ones() -> None:
    old, asked = many(20), many(20)[4]
    grown = [*many(35)[20:], *reversed(old)]
    before = ids(DistractorSource("random", old, 0).distractors_of(asked, 19).documents)
    after = ids(DistractorSource("random", grown, 0).distractors_of(asked, 34).documents)
    assert [identity for identity in after if identity in before] == before


OWN_DISTRACTORS = [("a", "first"), ("b", "second, with yellow answer"), ("a", "first"), ("c", "third")]


def test_those_of_the_dataset_are_taken_as_they_are() -> None:
    asked = question("own", "asked", ["yellow"], "Gold", "It is yellow.", OWN_DISTRACTORS)
    for method in ("auto", "dataset"):
        source = DistractorSource(method, [asked, *POOL], 0)
        assert source.method == "dataset"
        assert ids(source.distractors_of(asked, 4).documents) == ["own/0", "own/1", "own/2", "own/3"]


def test_gold_document_among_those_of_the_dataset_is_passed_over() -> None:
    asked = question("own", "asked", ["yellow"], "Gold", "It is yellow.", [("Gold", "It is yellow."), *OWN_DISTRACTORS])
    assert ids(DistractorSource("dataset", [asked], 0).distractors_of(asked, 4).documents) == [
        "own/1",
        "own/2",
        "own/3",
        "own/4",
    ]


def test_auto_is_bm25_where_the_dataset_has_none() -> None:
    source = DistractorSource("auto", POOL, 0)
    assert source.method == "bm25"
    assert (
        source.distractors_of(GOLD, 7).documents == DistractorSource("bm25", POOL, 0).distractors_of(GOLD, 7).documents
    )


def test_bm25_may_be_asked_for_although_the_dataset_has_some() -> None:
    asked = question("own", ASKED, ["yellow"], "Gold", "It is yellow.", OWN_DISTRACTORS)
    assert ids(DistractorSource("bm25", [asked, *POOL], 0).distractors_of(asked, 2).documents)[0] == "gold"


@pytest.mark.parametrize(
    ("method", "asked", "wanted", "found"),
    [
        ("bm25", GOLD, 8, 7),
        ("random", GOLD, 12, 7),
        ("dataset", question("own", "asked", ["yellow"], "Gold", "It is yellow.", OWN_DISTRACTORS), 5, 4),
        ("dataset", GOLD, 1, 0),
    ],
)
def test_too_few_are_an_error_that_says_how_many_there_are(
    method: str, asked: Question, wanted: int, found: int
) -> None:
    source = DistractorSource(method, POOL, 0)
    assert len(source.distractors_of(asked, found).documents) == found
    with pytest.raises(ContextError) as raised:
        source.distractors_of(asked, wanted)
    message = str(raised.value)
    assert message.startswith(f"question {asked.question_id!r}: {wanted} distractors are needed")
    assert f"distractors: {method} finds {found}; ask for at most {found + 1} document" in message


CHINESE = [
    question("bridge", "大桥在哪里？", ["河边"], "大桥", "大桥在河边。"),
    question("ship", "asked", ["x"], "船", "船停了。"),
    question("bank", "asked", ["x"], "岸", "大桥在河边，岸很长。"),
    question("long", "asked", ["x"], "长度", "大桥很长，也很宽。"),
    question("lost", "asked", ["x"], "传说", "没有人知道大桥在哪里。"),
]


def test_bm25_ranks_texts_without_spaces_and_passes_over_answers() -> None:
    """By hand: of the question's five pairs of characters "lost" shares four, "long" one; "bank" holds the answer."""
    found = DistractorSource("bm25", CHINESE, 0).distractors_of(CHINESE[0], 3)
    assert ids(found.documents) == ["lost", "long", "ship"]
    assert found.with_answer == []
    for seed in range(5):
        drawn = DistractorSource("random", CHINESE, seed).distractors_of(CHINESE[0], 3)
        assert set(ids(drawn.documents)) == {"lost", "long", "ship"}


WITH_ANSWER = question(
    "own",
    "asked",
    ["yellow"],
    "Gold",
    "It is yellow.",
    [("One", "Yellow, too."), ("Two", "It is red."), ("Three", "Blue")],
)


def test_own_distractors_with_an_answer_are_kept_dropped_or_refused() -> None:
    kept = DistractorSource("dataset", [WITH_ANSWER], 0).distractors_of(WITH_ANSWER, 2)
    assert (ids(kept.documents), ids(kept.with_answer)) == (["own/0", "own/1"], ["own/0"])
    dropping = DistractorSource("dataset", [WITH_ANSWER], 0, "drop")
    dropped = dropping.distractors_of(WITH_ANSWER, 2)
    assert (ids(dropped.documents), ids(dropped.with_answer)) == (["own/1", "own/2"], ["own/0"])
    with pytest.raises(ContextError, match=r"finds 2 \(answer_in_distractors: drop leaves out 1\)"):
        dropping.distractors_of(WITH_ANSWER, 3)
    with pytest.raises(ContextError, match=r"question 'own' .*'own/0' holds .*\['yellow'\].*keep or drop"):
        DistractorSource("dataset", [WITH_ANSWER], 0, "error").distractors_of(WITH_ANSWER, 2)
