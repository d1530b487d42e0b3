"""The specification curve: every way once, with the numbers of the table of shapes, and one test over all."""

import numpy as np
import pandas as pd
import pytest
import vl_convert

from lenscore.analysis.shape.study_shapes import shapes_of_study
from lenscore.analysis.specification_curve import specification_curve
from lenscore.report.charts import CHART_FUNCTIONS
from lenscore.study.analysis import AnalysisSpec, PrimaryAnalysis
from tests.test_analysis import depth_row

SETTINGS = AnalysisSpec(resamples=100, permutations=199, primary=PrimaryAnalysis(tokens="all", lens="logit"))
WAY = ["lens", "measure", "tokens", "population"]


def a_study(bend: float) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    rows = []
    for question in range(20):
        for place in range(3):
            first = int(draw.integers(0, 3))
            depth = int(draw.poisson(1 + (bend if place == 1 else 0)))
            own = {"own_token_refinement_depth": depth + int(draw.integers(0, 2)), "prediction_depth": first + depth}
            rows.append(depth_row(f"q{question}", place, 0, first, first + depth, **own))
    return pd.DataFrame(rows)


def test_estimates_are_those_of_the_shapes() -> None:
    rows = a_study(bend=2.0)
    table, shapes = specification_curve(rows, SETTINGS), shapes_of_study(rows, SETTINGS)
    keys = [*WAY, "n_documents"]
    for contrast, column in (("middle_ends", "middle"), ("slope", "slope")):
        of_contrast = table[table["contrast"] == contrast]
        assert not of_contrast.duplicated(keys).any()
        both = of_contrast.merge(shapes.dropna(subset=["middle"]), on=keys, suffixes=("", "_of_shape"))
        assert len(both) >= 10
        assert both["estimate"].to_numpy() == pytest.approx(both[column].to_numpy())
        assert both["low"].to_numpy() == pytest.approx(both[f"{column}_low"].to_numpy())
        assert both["primary"].tolist() == both["primary_of_shape"].tolist()
        assert both["primary"].sum() == 1
        assert of_contrast["place"].tolist() == list(range(len(of_contrast)))
        assert of_contrast["estimate"].is_monotonic_increasing
        assert (of_contrast["n_ways"] == len(of_contrast)).all()
        assert of_contrast["median"].iloc[0] == pytest.approx(np.median(of_contrast["estimate"]))


def test_a_bend_in_all_ways_is_found_and_a_tilt_that_is_not_there_is_not() -> None:
    found = specification_curve(a_study(bend=4.0), SETTINGS).groupby("contrast").first()
    assert found.loc["middle_ends", "median_p"] <= 0.02
    assert found.loc["middle_ends", "n_significant"] == found.loc["middle_ends", "n_ways"]
    assert found.loc["slope", "median_p"] > 0.05


def test_controls_and_ways_without_a_token_somewhere_are_left_out() -> None:
    rows = a_study(bend=0.0)
    control = rows.assign(condition="shuffled_gold", refinement_depth=99.0)
    rows.loc[rows["gold_index"] == 2, ["final_right", "settled_layer", "refinement_depth"]] = [False, np.nan, np.nan]
    table = specification_curve(pd.concat([rows, control]), SETTINGS)
    assert "refinement_depth" not in set(table["measure"])
    assert {"own_token_refinement_depth", "prediction_depth"} <= set(table["measure"])
    assert table["estimate"].abs().max() < 20
    nothing = specification_curve(rows[rows["condition"] == "oracle"], SETTINGS)
    assert nothing.empty
    assert set(table.columns) == set(nothing.columns)


def test_the_chart_draws_every_way_and_marks_the_primary_one() -> None:
    table = specification_curve(a_study(bend=2.0), SETTINGS)
    chart = CHART_FUNCTIONS["specification_curve"]
    svg = vl_convert.vegalite_to_svg(chart(table).to_dict())
    # A point for each way, a ring for the primary one in each of two panels, and the symbols of two legends.
    assert svg.count('aria-roledescription="point"') == len(table) + 2
    assert "NaN" not in svg
    assert "No context set has three positions" in vl_convert.vegalite_to_svg(chart(table.iloc[:0]).to_dict())
