"""The joint test over many ways of asking: held against a plain implementation, and against flat studies."""

from itertools import permutations as orders
from itertools import product

import numpy as np
import pytest

from lenscore.analysis.shape.contrasts import middle_weights
from lenscore.analysis.shape.joint_test import Way, joint_test

PLACES = np.array([0.0, 0.5, 1.0])
MIDDLE = middle_weights(PLACES)


def a_way(values: np.ndarray, counts: np.ndarray | None = None) -> Way:
    counts = np.ones_like(values) if counts is None else counts
    return Way(values * counts, counts)


def t_of(values: np.ndarray) -> float:
    """The contrast over its standard error, where every question has one token at every place."""
    of_question = values @ MIDDLE
    spread = np.sqrt(((of_question - of_question.mean()) ** 2).sum()) / len(values)
    return float(of_question.mean() / spread)


def test_p_is_the_share_of_all_exchanges_that_say_as_much() -> None:
    draw = np.random.default_rng(3)
    base = draw.normal(size=(4, 3)) + np.array([0.0, 1.2, 0.0])
    values = [base, base + draw.normal(size=(4, 3)) * 0.5, -draw.normal(size=(4, 3))]
    found = joint_test([a_way(one) for one in values], MIDDLE, permutations=20_000, seed=0)
    assert found.statistics == pytest.approx([t_of(one) for one in values])
    assert found.median == pytest.approx(np.median([t_of(one) for one in values]))
    # All 6⁴ exchanges, each in all ways at once.
    medians, numbers = [], []
    for chosen in product(orders(range(3)), repeat=4):
        t = np.array([t_of(np.stack([row[list(o)] for row, o in zip(one, chosen, strict=True)])) for one in values])
        medians.append(abs(np.median(t)))
        numbers.append(max((t > 1.96).sum(), (t < -1.96).sum()))
    exact = np.mean(np.array(medians) >= abs(found.median) - 1e-9)
    assert found.median_p == pytest.approx(exact, abs=0.015)
    assert found.n_significant_p == pytest.approx(np.mean(np.array(numbers) >= found.n_significant), abs=0.015)


@pytest.mark.slow
def test_flat_studies_are_found_as_often_as_promised_however_many_ways_there_are() -> None:
    draw = np.random.default_rng(0)
    found = []
    for study in range(200):
        values = draw.poisson(2.0, size=(30, 3)).astype(float)
        # Ways look at the same tokens: they are far from independent.
        ways = [a_way(values + draw.normal(size=values.shape) * spread) for spread in (0.0, 0.3, 1.0, 2.0, 3.0)]
        test = joint_test(ways, MIDDLE, permutations=99, seed=study)
        found.append((test.median_p <= 0.05, test.n_significant_p <= 0.05))
    of_median, of_number = np.mean(found, axis=0)
    assert 0.01 <= of_median <= 0.095  # 95% of 200 draws at 5%: 0.02 to 0.08
    assert of_number <= 0.095  # few ways: most studies have none, so the level is kept with room


def test_what_all_ways_say_is_found_where_each_alone_is_unsure() -> None:
    draw = np.random.default_rng(1)
    bend = np.array([0.0, 0.35, 0.0])
    ways = [a_way(draw.normal(size=(60, 3)) + bend) for _ in range(9)]
    test = joint_test(ways, MIDDLE, permutations=999, seed=0)
    assert test.median_p < 0.01
    assert (test.statistics > 0).all()


def test_a_way_without_tokens_at_a_place_says_nothing_there() -> None:
    values = np.arange(12.0).reshape(4, 3)
    counts = np.ones((4, 3))
    counts[:, 1] = 0
    test = joint_test([a_way(values), a_way(values, counts)], MIDDLE, permutations=9, seed=0)
    assert test.statistics[1] == 0
