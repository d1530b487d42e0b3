"""Verdicts on curves: the rule, its correction, its table, and how often it is wrong on simulated studies."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests

from benchmarks.shape.__main__ import FLAT, SHAPES, shaped
from benchmarks.shape.placebo import BRIEF, Placebo, says_something
from benchmarks.shape.rates import outcome, study_rates
from benchmarks.shape.simulate import Design
from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.shape.contrasts import Contrast
from lenscore.analysis.shape.regressions import Coefficient, Quadratic
from lenscore.analysis.shape.shape_tests import shape_tests
from lenscore.analysis.shape.two_lines import TwoLines
from lenscore.analysis.shape.verdicts import CurveTests, holm, smallest_detectable, verdicts

BOOTSTRAP = Bootstrap(resamples=200, confidence=0.95, seed=0)
table_of = partial(shape_tests, bootstrap=BOOTSTRAP, permutations=199, smallest_effect=0.5)
named = partial(verdicts, confidence=0.95, smallest_effect=0.5)


def contrast(estimate: float, p: float, half_width: float = 1.0) -> Contrast:
    wide, narrow = 1.2 * half_width, half_width
    return Contrast(estimate, estimate - wide, estimate + wide, 0.1, p, estimate - narrow, estimate + narrow)


def results(
    middle: Contrast,
    slope: Contrast,
    lines: str | None = None,
    lines_p: float = 1.0,
    curvature: float = 0.0,
    curvature_p: float = 1.0,
    vertex_inside: bool = True,
) -> CurveTests:
    line = Coefficient(0.0, 1.0, -2.0, 2.0, 1.0)
    return CurveTests(
        middle,
        slope,
        Quadratic(line, replace(line, estimate=curvature, p=curvature_p), 0.5, vertex_inside),
        TwoLines(0.5, line, line, lines, lines_p),
    )


NONE, UP, DOWN = contrast(0.1, 0.6), contrast(2.0, 0.01), contrast(-2.0, 0.01)


@pytest.mark.parametrize(
    ("tests", "name"),
    [
        (results(UP, NONE), "inverted U"),
        (results(DOWN, NONE), "U"),
        (results(NONE, UP), "rising"),
        (results(NONE, DOWN), "falling"),
        (results(UP, UP), "rising"),
        (results(UP, DOWN), "falling"),
        (results(UP, UP, "inverted U", 0.04), "inverted U"),
        (results(UP, UP, "inverted U", 0.06), "rising"),
        (results(DOWN, UP, "U", 0.04), "U"),
        (results(NONE, UP, "inverted U", 0.04), "rising"),  # not curved: the lines are not asked
        (results(NONE, NONE, "inverted U", 0.04), "undecided"),
        (results(contrast(0.1, 0.6, 0.3), contrast(-0.1, 0.6, 0.3)), "flat"),
        (results(contrast(0.1, 0.6, 0.3), contrast(-0.1, 0.6, 0.45)), "undecided"),
        (results(contrast(0.1, 0.6, 0.45), contrast(-0.1, 0.6, 0.3)), "undecided"),
        (results(contrast(0.1, 0.05, 0.05), NONE), "inverted U"),
    ],
)
def test_the_rule(tests: CurveTests, name: str) -> None:
    (found,) = named([tests])
    assert found.name == name
    assert (found.reason is not None) == (name == "undecided")
    assert (found.supporting_tests is not None) == (name in ("inverted U", "U"))


@pytest.mark.parametrize(
    ("tests", "supporting"),
    [
        (results(UP, NONE, "inverted U", 0.01, -3.0, 0.01), 3),
        (results(UP, NONE, "inverted U", 0.01, -3.0, 0.01, vertex_inside=False), 2),
        (results(UP, NONE, "U", 0.01, 3.0, 0.01), 1),
        (results(UP, NONE, "inverted U", 0.2, -3.0, np.nan), 1),
        (results(UP, UP, "inverted U", 0.01), 2),
        (results(DOWN, NONE, "U", 0.01, 3.0, 0.01), 3),
    ],
)
def test_a_us_support_is_counted(tests: CurveTests, supporting: int) -> None:
    assert named([tests])[0].supporting_tests == supporting


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.01, np.nan, 0.03]), [0.02, np.nan, 0.03])
    np.testing.assert_allclose(holm([0.7, 0.9]), [1.0, 1.0])
    np.testing.assert_array_equal(holm([0.04]), [0.04])
    assert holm([]).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_its_definition(p_values: list[float]) -> None:
    n = len(p_values)
    scaled = {p: (n - sum(other < p for other in p_values)) * p for p in p_values}
    wanted = [min(1.0, max(scaled[other] for other in p_values if other <= p)) for p in p_values]
    np.testing.assert_array_equal(holm(p_values), wanted)


def test_holm_is_that_of_statsmodels() -> None:
    p_values = np.random.default_rng(0).random(20) ** 3
    np.testing.assert_array_equal(holm(p_values.tolist()), multipletests(p_values, method="holm")[1])


def test_what_is_significant_alone_may_not_be_among_others() -> None:
    weak = results(contrast(2.0, 0.03), NONE)
    assert named([weak])[0].name == "inverted U"
    found = named([weak, results(NONE, UP)])
    assert [one.name for one in found] == ["undecided", "rising"]  # each kind of test is a family of its own
    assert found[0].middle_p == pytest.approx(0.06)
    assert found[1].slope_p == pytest.approx(0.02)


def test_the_smallest_effect_by_hand() -> None:
    assert smallest_detectable(1.0, 0.05) == pytest.approx(1.959964 + 0.841621, abs=1e-5)
    first, _ = named([results(NONE, NONE)] * 2)
    assert first.smallest_middle == pytest.approx(0.1 * 2.801585, abs=1e-6)
    assert first.smallest_middle_corrected == pytest.approx(0.1 * (2.241403 + 0.841621), abs=1e-6)


def tokens_of(design: Design, seed: int, **keys: str) -> pd.DataFrame:
    curve = design.simulate(np.random.default_rng(seed))
    return pd.DataFrame(
        {
            "question_id": [f"q{question}" for question in curve.question],
            "relative_position": curve.place,
            "refinement_depth": curve.value,
            **keys,
        }
    )


def test_the_table_has_a_row_for_every_curve_and_a_reason_for_each_untested() -> None:
    bump = replace(FLAT, effect=(0.0, 3.0, 4.0, 3.0, 0.0), questions=60)
    lone = tokens_of(bump, 1, lens="logit", model="b").query("relative_position != 1.0")
    control = tokens_of(bump, 2, lens="logit", model="a").head(3).assign(relative_position=None)
    rows = pd.concat([lone, tokens_of(bump, 0, lens="logit", model="a"), control])
    table = table_of(rows, keys=["model", "lens"])
    assert table["model"].tolist() == ["a", "b"]
    assert table["verdict"].tolist() == ["inverted U", "undecided"]
    curve, untested = table.iloc[0], table.iloc[1]
    assert untested["reason"] == "no observation at the last position"
    assert np.isnan(untested["middle"])
    assert untested["n_positions"] == 4
    assert pd.isna(curve["reason"])
    assert curve["middle_p_holm"] == curve["middle_p"]  # the untested curve is in no family
    assert curve["smallest_middle"] == curve["smallest_middle_corrected"]
    means = rows[(rows["model"] == "a")].groupby("relative_position")["refinement_depth"].mean()
    assert curve["middle"] == pytest.approx(means.iloc[1:4].mean() - means.iloc[[0, 4]].mean())
    assert curve["highest"] == pytest.approx(means.max())
    assert curve["highest_position"] == means.idxmax()
    assert curve["middle_low"] < curve["middle"] < curve["middle_high"]
    assert curve["supporting_tests"] == 3
    assert pd.isna(untested["supporting_tests"])


def test_a_study_without_curves_has_a_table_without_rows() -> None:
    rows = tokens_of(FLAT, 0, model="a").head(0)
    table = table_of(rows, keys=["model"])
    assert table.empty
    full = table_of(tokens_of(FLAT, 0, model="a"), keys=["model"])
    assert (table.dtypes == full.dtypes).drop("model").all()


def test_the_same_study_gives_the_same_table_in_any_order_of_its_rows() -> None:
    rows = tokens_of(FLAT, 3, model="a")
    mixed = rows.sample(frac=1, random_state=0)
    first, second = (table_of(one, keys=["model"]) for one in (rows, mixed))
    pd.testing.assert_frame_equal(first, second, rtol=1e-9)


def test_a_mirrored_curve_has_the_opposite_verdict() -> None:
    opposite = {"inverted U": "U", "rising": "falling"}
    for effect, verdict in (((0.0, 3.0, 4.0, 3.0, 0.0), "inverted U"), ((0.0, 1.0, 2.0, 3.0, 4.0), "rising")):
        rows = tokens_of(replace(FLAT, effect=effect), 4, model="a")
        turned = rows.assign(refinement_depth=-rows["refinement_depth"])
        for study, expected in ((rows, verdict), (turned, opposite[verdict])):
            (found,) = table_of(study, keys=["model"])["verdict"]
            assert found == expected


def simulated(design: Design, simulations: int) -> list:
    """Test simulated curves, with fewer draws than the benchmark: a test at 5% keeps its level with any 20k − 1."""
    return [outcome(design, seed, resamples=199, permutations=199) for seed in range(simulations)]


def test_flat_studies_get_a_shape_as_often_as_they_may() -> None:
    found = simulated(replace(FLAT, questions=40), 402)
    alone, together = study_rates(found, 1), study_rates(found, 3)
    low, high = (bound / 402 for bound in binom.interval(0.999, 402, 0.05))
    for rate in (alone.tests["contrast"], alone.tests["slope"], alone.bent, alone.tilted):
        assert low <= rate <= high
    assert alone.tests["quadratic"] <= high
    assert alone.tests["two lines"] <= 0.05  # both slopes by chance, and of opposite signs
    assert together.bent <= binom.ppf(0.999, 134, 0.05) / 134
    assert together.tilted <= binom.ppf(0.999, 134, 0.05) / 134


def test_what_is_there_is_found_about_as_often_as_promised() -> None:
    design = replace(FLAT, questions=60)
    smallest = float(np.mean([one.smallest for one in simulated(design, 30)]))
    found = study_rates(simulated(shaped("inverted U", smallest, 60), 120), 1)
    assert 0.6 <= found.tests["contrast"] <= 0.92
    assert found.verdicts["U"] == 0


def test_a_curve_that_levels_off_is_rarely_called_a_u() -> None:
    effect = tuple(3 * part for part in SHAPES["saturating"])
    found = study_rates(simulated(replace(FLAT, effect=effect), 60), 1)
    assert found.verdicts["rising"] > 0.6
    assert found.supported < 0.15


@pytest.mark.slow
def test_a_lens_without_a_tie_to_any_cause_seldom_points_anywhere() -> None:
    """The placebo of make validate-shape, smaller: 5% of 150 and three standard errors are 10.3%."""
    for profile in (BRIEF["labels shuffled"], BRIEF["neighbours correlate by 0.8"]):
        assert np.mean([says_something(Placebo(profile), seed) for seed in range(150)]) < 0.103
    tied = Placebo(BRIEF["neighbours correlate by 0.5"], tie=0.95)
    assert np.mean([says_something(tied, seed) for seed in range(30)]) > 0.9
