"""The registry of measures: over which tokens each is, and that tables, charts and sentences go by it."""

import numpy as np
import pandas as pd
import pytest

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.controls import controls
from lenscore.analysis.curves import refinement_curve
from lenscore.analysis.measures import MEASURES, TARGETS, by_tokens_that_count
from lenscore.analysis.shape.study_shapes import OTHER_MEASURES, shapes_of_study
from lenscore.report.charts.curves import _OTHER
from lenscore.study.analysis import AnalysisSpec, PrimaryAnalysis
from tests.test_analysis import cell, depth_row, nothing_right, three_questions

PRIMARY = PrimaryAnalysis()
BOOTSTRAP = Bootstrap(resamples=200, confidence=0.95, seed=0)


def test_a_token_counts_at_top_five_that_is_not_right() -> None:
    """Two tokens at place 0, one of them right; at top 5 both are."""
    right = depth_row("a", 0, 0, 2, 4)
    fifth = depth_row("b", 0, 0, 3, None) | nothing_right()
    fifth |= {"first_correct_layer_top5": 1, "settled_layer_top5": 8, "refinement_depth_top5": 7}
    table = refinement_curve(pd.DataFrame([right, fifth]), BOOTSTRAP, PRIMARY)
    assert cell(table, measure="refinement_depth")["n_tokens"] == 1
    top5 = cell(table, measure="refinement_depth_top5")
    assert (top5["n_tokens"], top5["mean"]) == (2, (2 + 7) / 2)
    # Its first-correct layer is known, but it has no depth: it ends wrong.
    assert cell(table, measure="first_correct_layer")["mean"] == 2
    assert cell(table, measure="first_correct_layer_top5")["mean"] == (2 + 1) / 2
    assert cell(table, measure="soft_depth")["n_tokens"] == 1
    assert cell(table, measure="own_token_soft_depth")["n_tokens"] == 2


def test_the_same_everywhere_are_the_tokens_right_at_top_one() -> None:
    rows = [depth_row("a", place, 0, 2, 4) for place in range(3)]
    sometimes = [depth_row("b", place, 0, 2, 4) for place in range(3)]
    sometimes[1] |= {"final_right": False, "settled_layer": None, "refinement_depth": None, "soft_depth": None}
    table = refinement_curve(pd.DataFrame([*rows, *sometimes]), BOOTSTRAP, PRIMARY)
    everywhere = table[(table["population"] == "every_position") & (table["tokens"] == "all")]
    assert set(everywhere["measure"]) == set(MEASURES)
    assert set(everywhere["n_tokens"]) == {1}


def test_measures_of_a_group_are_over_the_same_tokens() -> None:
    groups = by_tokens_that_count()
    assert sorted(measure.name for group in groups for measure in group) == sorted(MEASURES)
    for group in groups:
        assert len({measure.counts_where for measure in group}) == 1
    assert all(measure.counts_where is None for measure in MEASURES.values() if measure.target == "own")


@pytest.mark.parametrize("name", MEASURES)
def test_values_are_missing_exactly_where_a_token_does_not_count(name: str) -> None:
    rows = three_questions().drop(columns="gold_index")
    measure = MEASURES[name]
    counted = measure.counted(rows)
    values = measure.of(rows)
    assert values.dropna().index.equals(counted.index)
    np.testing.assert_array_equal(values.dropna(), counted[name].astype(float))
    assert len(counted) == (len(rows) if measure.target == "own" else 8)


def test_shapes_are_tested_by_every_measure_that_is_named() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for question in range(12):
        for place in range(3):
            first = int(rng.integers(0, 9))
            rows.append(depth_row(f"q{question}", place, 0, first, first + int(rng.integers(0, 9))))
    shapes = shapes_of_study(pd.DataFrame(rows), AnalysisSpec(resamples=100, permutations=99))
    tested = {tuple(row) for row in shapes[["measure", "tokens"]].to_numpy()}
    assert tested == {(m, t) for m in TARGETS for t in ("all", "content", "first")} | {
        (m, "all") for m in OTHER_MEASURES
    }
    assert not set(TARGETS) & set(OTHER_MEASURES)
    depth = shapes.set_index(["measure", "tokens", "population"])["middle"]
    # The rows' soft depth is their refinement depth.
    assert depth["soft_depth", "all", "each_position"] == depth["refinement_depth", "all", "each_position"]
    assert {name for row in _OTHER for name in row} == set(OTHER_MEASURES)


def test_controls_compare_every_measure() -> None:
    control = depth_row("a", 0, 0, 1, 4, condition="closed_book", gold_index=None, relative_position=None)
    rows = pd.concat([three_questions(), pd.DataFrame([control | {"soft_depth": 1.5}])], ignore_index=True)
    table = controls(rows.assign(target_logprob=-1.0), 0.95)
    assert set(table["measure"]) == {"accuracy", "target_logprob", *MEASURES}
    soft = cell(table, measure="soft_depth")
    assert (soft["mean"], soft["control_mean"], soft["n_tokens"]) == ((2 + 5 + 0) / 3, 1.5, 1)
