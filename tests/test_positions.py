"""The positions of the gold document."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenscore.contexts.positions import gold_indices, relative_position


@pytest.mark.parametrize(
    ("positions", "n_documents", "indices"),
    [
        (5, 10, [0, 2, 5, 7, 9]),  # 0, 2.25, 4.5, 6.75, 9: halves up
        (5, 5, [0, 1, 2, 3, 4]),
        (5, 20, [0, 5, 10, 14, 19]),  # 0, 4.75, 9.5, 14.25, 19
        (5, 30, [0, 7, 15, 22, 29]),  # 0, 7.25, 14.5, 21.75, 29
        (3, 10, [0, 5, 9]),
        (2, 2, [0, 1]),
        (2, 30, [0, 29]),
        ("all", 4, [0, 1, 2, 3]),
        ("all", 1, [0]),
        ([0], 1, [0]),
        ([9, 0, 4], 10, [0, 4, 9]),
        # Place k is 17k/14: at k = 7 and 21 halves, 8.5 and 25.5; the second falls short in floating point.
        (29, 35, [0, 1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 15, 16, 17, 18, 19, 21, 22, 23, 24, 26, 27, 28, 29, 30, 32,
                  33, 34]),
    ],
)  # fmt: skip
def test_hand_worked(positions: object, n_documents: int, indices: list[int]) -> None:
    assert gold_indices(positions, n_documents) == indices


@given(st.integers(2, 200).flatmap(lambda n: st.tuples(st.integers(2, n), st.just(n))))
def test_count_is_evenly_spread_with_both_ends(counts: tuple[int, int]) -> None:
    positions, n_documents = counts
    indices = gold_indices(positions, n_documents)
    assert len(indices) == positions
    assert indices == sorted(set(indices))
    assert (indices[0], indices[-1]) == (0, n_documents - 1)
    for place, index in enumerate(indices):
        exact = Fraction(place * (n_documents - 1), positions - 1)
        assert -Fraction(1, 2) < index - exact <= Fraction(1, 2)


def test_relative_position_is_of_the_last_index() -> None:
    assert [relative_position(index, 5) for index in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert relative_position(2, 10) == 2 / 9
    assert relative_position(0, 1) is None
