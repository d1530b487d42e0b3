"""Differences between positions, split into depth within the same tokens and composition."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.decomposition import depth_decomposition
from tests.test_analysis import depth_row

BOOTSTRAP = Bootstrap(resamples=200, confidence=0.95, seed=0)


def rows_of(depths: dict[str, list[int | None]]) -> pd.DataFrame:
    """One answer token a question: its refinement depth at each place, None where it is wrong."""
    rows = []
    for question, at in depths.items():
        for place, depth in enumerate(at):
            settled = None if depth is None else 2 + depth
            rows.append(depth_row(question, place, 0, None if depth is None else 2, settled, n_documents=len(at)))
    return pd.DataFrame(rows)


def found_in(table: pd.DataFrame, contrast: str, measure: str = "refinement_depth") -> pd.Series:
    return table[(table["contrast"] == contrast) & (table["measure"] == measure)].iloc[0]


def test_the_worked_example_of_the_definitions() -> None:
    table = depth_decomposition(rows_of({"a": [2, 3, 2], "b": [None, 9, None], "c": [4, 6, 5]}), BOOTSTRAP)
    middle = found_in(table, "middle_ends")
    # Means of all: 3, 6, 3.5; of a and c, which are right everywhere: 3, 4.5, 3.5.
    assert middle["difference"] == pytest.approx(6 - 3.25)
    assert middle["within"] == pytest.approx(4.5 - 3.25)
    assert middle["composition"] == pytest.approx(6 - 4.5)
    assert (middle["n_tokens"], middle["n_stayers"], middle["n_questions"]) == (7, 2, 3)
    last = found_in(table, "last_first")
    assert (last["difference"], last["within"], last["composition"]) == pytest.approx((0.5, 0.5, 0.0))


def test_two_positions_are_survivors_entrants_and_exits() -> None:
    """Melitz & Polanec 2015: ΔS + share of entrants · (E − S₂) + share of exits · (S₁ − X), written out."""
    table = depth_decomposition(rows_of({"s": [1, 3], "t": [2, 2], "entrant": [None, 8], "exit": [5, None]}), BOOTSTRAP)
    found = found_in(table, "last_first")
    assert found["within"] == pytest.approx(2.5 - 1.5)
    assert found["composition"] == pytest.approx(1 / 3 * (8 - 2.5) + 1 / 3 * (1.5 - 5))
    assert set(table["contrast"]) == {"last_first"}


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(st.one_of(st.none(), st.integers(0, 20)), min_size=4, max_size=4), min_size=3, max_size=8))
def test_the_parts_add_up(depths: list[list[int | None]]) -> None:
    table = depth_decomposition(rows_of({f"q{i}": row for i, row in enumerate(depths)}), BOOTSTRAP)
    whole = table.dropna(subset="within")
    np.testing.assert_allclose(whole["within"] + whole["composition"], whole["difference"], atol=1e-9)
    missing = table[table["within"].isna()]
    assert (missing["n_stayers"] == 0).all()


def test_a_difference_by_composition_alone_is_told_from_one_within() -> None:
    rng = np.random.default_rng(0)
    composed, within = {}, {}
    for i in range(80):
        depth = int(rng.integers(0, 4))
        within[f"q{i}"] = [depth, depth + 2, depth]
        # Deep tokens are right in the middle alone.
        composed[f"q{i}"] = [depth] * 3 if i % 2 else [None, 10, None]
    by_composition = found_in(depth_decomposition(rows_of(composed), BOOTSTRAP), "middle_ends")
    assert by_composition["within"] == by_composition["within_low"] == by_composition["within_high"] == 0
    assert by_composition["composition_low"] > 2
    by_depth = found_in(depth_decomposition(rows_of(within), BOOTSTRAP), "middle_ends")
    assert by_depth["composition"] == pytest.approx(0)
    assert by_depth["within_low"] == pytest.approx(2)


def test_without_tokens_right_at_both_sides_there_are_no_parts() -> None:
    found = found_in(depth_decomposition(rows_of({"a": [1, None], "b": [None, 4]}), BOOTSTRAP), "last_first")
    assert found["difference"] == 3
    assert np.isnan(found["within"])
    assert found["n_stayers"] == 0


def test_a_single_position_and_no_rows_make_no_table() -> None:
    one = rows_of({"a": [1, 2]})
    assert depth_decomposition(one[one["gold_index"] == 0], BOOTSTRAP).empty
    assert depth_decomposition(one.iloc[:0], BOOTSTRAP).empty
