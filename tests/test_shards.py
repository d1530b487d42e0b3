"""How a study is divided into shards."""

from typing import Any

from lenscore.plan.shards import Shards, shard_name
from lenscore.study.study import read_study
from tests.conftest import STUDY


def shards_of(**changes: Any) -> Shards:
    return Shards(read_study({**STUDY, "ablation": {"questions": 0}, **changes}))


def test_shards_hold_every_question_once() -> None:
    for questions in range(1, 30):
        shards = shards_of(questions=questions, shard_size=7)
        places = [range(*shards.questions(shard)) for shard in range(shards.count)]
        assert [place for shard in places for place in shard] == list(range(questions))
        assert all(1 <= len(shard) <= 7 for shard in places)


def test_more_questions_leave_earlier_shards_as_they_are() -> None:
    few, many = shards_of(questions=14, shard_size=7), shards_of(questions=30, shard_size=7)
    assert [many.questions(shard) for shard in range(2)] == [few.questions(shard) for shard in range(2)]


def test_a_shard_beyond_four_digits_has_a_name_of_its_own() -> None:
    shards = shards_of(questions=10_001, shard_size=1)
    names = {shard_name(shard) for shard in range(shards.count)}
    assert len(names) == 10_001
    assert {"0000", "9999", "10000"} <= names


def test_means_are_taken_over_the_shards_that_hold_the_first_questions() -> None:
    shards = shards_of(questions=5, shard_size=2, ablation={"questions": 3, "reference": 3})
    assert list(shards.of_reference()) == [0, 1]
    assert list(shards_of(questions=3, shard_size=2, ablation={"reference": 99}).of_reference()) == [0, 1]
