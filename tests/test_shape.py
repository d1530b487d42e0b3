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

from benchmarks.shape.placebo import BRIEF, Placebo, says_something
from benchmarks.shape.rates import outcome, power_among, study_rates
from benchmarks.shape.simulate import Design
from benchmarks.shape.tables import FLAT, SHAPES, shaped
from lenscore.analysis.shape.contrasts import Contrast, Deviation
from lenscore.analysis.shape.curve_tests import CurveTests, Others
from lenscore.analysis.shape.regressions import Coefficient, Quadratic
from lenscore.analysis.shape.shape_tests import shape_tests
from lenscore.analysis.shape.two_lines import TwoLines
from lenscore.analysis.shape.verdicts import (
    FORMS,
    NO_FORM,
    VERDICTS,
    Verdict,
    holm,
    smallest_detectable,
    verdicts,
)
from lenscore.study.analysis import AnalysisSpec, SmallestEffect

BOUND = 0.5
SETTINGS = AnalysisSpec(permutations=199, smallest_effect=SmallestEffect(layers=BOUND))
table_of = partial(shape_tests, settings=SETTINGS)


def named(tests: list[CurveTests], bound: float = BOUND) -> list[Verdict]:
    return verdicts(tests, [bound] * len(tests), confidence=0.95)


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
    *,
    first: Contrast | None = None,
    last: Contrast | None = None,
    others: Others | None = None,
    most: float = 0.4,
) -> CurveTests:
    line = Coefficient(0.0, 1.0, -2.0, 2.0, 1.0)
    return CurveTests(
        middle,
        slope,
        first or NONE,
        last or NONE,
        others,
        Deviation(0.5, 0.2, most),
        Quadratic(line, replace(line, estimate=curvature, p=curvature_p), 0.5, vertex_inside),
        TwoLines(0.5, line, line, lines, lines_p),
    )


NONE, UP, DOWN = contrast(0.1, 0.6), contrast(2.0, 0.01), contrast(-2.0, 0.01)


@pytest.mark.parametrize(
    ("tests", "form"),
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
        (results(NONE, NONE, "inverted U", 0.04), NO_FORM),
        (results(contrast(0.1, 0.05, 0.05), NONE), "inverted U"),
    ],
)
def test_the_form_is_named_by_the_tests(tests: CurveTests, form: str) -> None:
    (found,) = named([tests])
    assert found.form == form
    assert (found.reason is not None) == (form == NO_FORM)
    assert (found.supporting_tests is not None) == (form in ("inverted U", "U"))
    assert found.name in VERDICTS


@pytest.mark.parametrize(
    ("middle", "size", "verdict"),
    [
        (contrast(2.0, 0.01), "beyond", "inverted U beyond the bound"),  # 0.8 to 3.2
        (contrast(0.9, 0.01, 0.3), "beyond", "inverted U beyond the bound"),  # 0.54 to 1.26
        (contrast(0.85, 0.01, 0.3), "open", "inverted U, size open"),  # 0.49 to 1.21
        (contrast(0.2, 0.046, 0.13), "within", "inverted U within the bound"),  # the case of the issue
        (contrast(-0.2, 0.046, 0.13), "within", "U within the bound"),
        (contrast(0.3, 0.01, 0.25), "open", "inverted U, size open"),  # 0.05 to 0.55 at level 1 − 2α
        (contrast(-0.9, 0.01, 0.3), "beyond", "U beyond the bound"),
    ],
)
def test_the_size_is_named_by_the_interval(middle: Contrast, size: str, verdict: str) -> None:
    (found,) = named([results(middle, NONE)])
    assert (found.size, found.name) == (size, verdict)


@pytest.mark.parametrize(
    ("tests", "name"),
    [
        (results(contrast(0.1, 0.6, 0.3), contrast(-0.1, 0.6, 0.3)), "flat"),
        (results(contrast(0.1, 0.6, 0.3), contrast(-0.1, 0.6, 0.45)), "undecided"),
        (results(contrast(0.1, 0.6, 0.45), contrast(-0.1, 0.6, 0.3)), "undecided"),
        (results(contrast(0.1, 0.6, 0.3), contrast(-0.1, 0.6, 0.3), most=0.6), "undecided"),
        (results(contrast(0.1, 0.6, 0.3), contrast(-0.1, 0.6, 0.3), most=np.nan), "undecided"),
    ],
)
def test_a_curve_is_flat_only_if_bend_tilt_and_every_position_are_within(tests: CurveTests, name: str) -> None:
    assert named([tests])[0].name == name
    assert named([tests], bound=2.0)[0].name == ("undecided" if np.isnan(tests.deviation.most) else "flat")


LEVEL = Others(contrast(0.1, 0.6), contrast(-0.1, 0.5))
LOW_LAST = contrast(-3.0, 0.001)


@pytest.mark.parametrize(
    ("tests", "form"),
    [
        (results(UP, DOWN, last=LOW_LAST, others=LEVEL), "recency step down"),
        (results(NONE, DOWN, last=LOW_LAST, others=LEVEL), "recency step down"),
        (results(UP, NONE, last=LOW_LAST, others=LEVEL), "recency step down"),
        (results(DOWN, UP, last=contrast(3.0, 0.001), others=LEVEL), "recency step up"),
        (results(UP, UP, first=LOW_LAST, others=LEVEL), "primacy step down"),
        (results(DOWN, DOWN, first=contrast(3.0, 0.001), others=LEVEL), "primacy step up"),
        (results(NONE, NONE, last=LOW_LAST, others=LEVEL), NO_FORM),  # a step renames a shape that is shown; it is none
        (results(UP, DOWN, last=contrast(-3.0, 0.06), others=LEVEL), "falling"),
        (results(UP, DOWN, last=LOW_LAST, others=None), "falling"),
        # The others bend, or tilt, or might by more than the step.
        (results(UP, DOWN, last=LOW_LAST, others=replace(LEVEL, middle=contrast(1.0, 0.04))), "falling"),
        (results(UP, DOWN, last=LOW_LAST, others=replace(LEVEL, slope=contrast(-1.0, 0.04))), "falling"),
        (results(UP, DOWN, last=LOW_LAST, others=replace(LEVEL, slope=contrast(-1.0, 0.3, 2.1))), "falling"),
        # What is shown, but to be within the bound, does no harm.
        (results(UP, DOWN, last=LOW_LAST, others=replace(LEVEL, slope=contrast(-0.2, 0.01, 0.1))), "recency step down"),
    ],
)
def test_an_end_that_stands_out_alone_is_a_step(tests: CurveTests, form: str) -> None:
    (found,) = named([tests])
    assert found.form == form
    assert found.supporting_tests is None
    if "step" in form:
        assert found.size == "beyond"


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
    assert named([weak])[0].form == "inverted U"
    found = named([weak, results(NONE, UP)])
    assert [one.form for one in found] == [NO_FORM, "rising"]  # each kind of test is a family of its own
    assert found[0].middle_p == pytest.approx(0.06)
    assert found[1].slope_p == pytest.approx(0.02)


def test_the_smallest_effect_by_hand() -> None:
    assert smallest_detectable(1.0, 0.05) == pytest.approx(1.959964 + 0.841621, abs=1e-5)
    first, _ = named([results(NONE, NONE)] * 2)
    assert first.smallest_middle_alone == pytest.approx(0.1 * 2.801585, abs=1e-6)
    assert first.smallest_middle == pytest.approx(0.1 * (2.241403 + 0.841621), abs=1e-6)


def tokens_of(design: Design, seed: int, **keys: str) -> pd.DataFrame:
    curve = design.simulate(np.random.default_rng(seed))
    return pd.DataFrame(
        {
            "question_id": [f"q{question}" for question in curve.question],
            "relative_position": curve.place,
            "refinement_depth": curve.value,
            "n_layers": 30,
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
    assert table["verdict"].tolist() == ["inverted U beyond the bound", "undecided"]
    assert table["form"].tolist() == ["inverted U", NO_FORM]
    assert table["size"].tolist() == ["beyond", "open"]
    assert (table["smallest_effect"] == BOUND).all()
    curve, untested = table.iloc[0], table.iloc[1]
    assert untested["reason"] == "no observation at the last position"
    assert np.isnan(untested["middle"])
    assert untested["n_positions"] == 4
    assert pd.isna(curve["reason"])
    assert curve["middle_p_holm"] == curve["middle_p"]  # the untested curve is in no family
    assert curve["smallest_middle"] == curve["smallest_middle_alone"]
    means = rows[(rows["model"] == "a")].groupby("relative_position")["refinement_depth"].mean()
    assert curve["middle"] == pytest.approx(means.iloc[1:4].mean() - means.iloc[[0, 4]].mean())
    assert curve["highest"] == pytest.approx(means.max())
    assert curve["highest_position"] == means.idxmax()
    assert curve["middle_low"] < curve["middle"] < curve["middle_high"]
    assert curve["supporting_tests"] == 3
    assert pd.isna(untested["supporting_tests"])
    assert curve["first"] == pytest.approx(means.iloc[0] - means.iloc[1:].mean())
    assert curve["last"] == pytest.approx(means.iloc[4] - means.iloc[:4].mean())
    assert abs(curve["deviation"]) == pytest.approx((means - means.mean()).abs().max())
    assert abs(curve["deviation"]) < curve["deviation_most"]


def test_the_bound_is_a_share_of_each_models_layers_or_the_same_layers_for_all() -> None:
    rows = pd.concat([tokens_of(FLAT, 0, model=name).assign(n_layers=n) for name, n in (("a", 12), ("b", 80))])
    for effect, bounds in ((SmallestEffect(share=0.02), [0.24, 1.6]), (SmallestEffect(layers=0.3), [0.3, 0.3])):
        table = shape_tests(rows, SETTINGS.model_copy(update={"smallest_effect": effect}), keys=["model"])
        np.testing.assert_allclose(table["smallest_effect"], bounds)
    assert AnalysisSpec().smallest_effect.in_layers(30) == pytest.approx(0.5, abs=0.005)


def test_a_curve_whose_last_position_alone_is_lower_is_a_recency_step() -> None:
    design = replace(FLAT, effect=tuple(4 * part for part in SHAPES["recency step down"]), questions=300)
    (row,) = table_of(tokens_of(design, 1, model="a"), keys=["model"]).to_dict("records")
    assert row["verdict"] == "recency step down beyond the bound"
    means = tokens_of(design, 1).groupby("relative_position")["refinement_depth"].mean()
    inner = means.iloc[1:3].mean() - means.iloc[[0, 3]].mean()
    assert row["others_middle"] == pytest.approx(inner)
    assert row["others_middle_p"] > 0.05
    # Three places cannot show a step: without an end, two are left.
    three = replace(FLAT, effect=(4.0, 4.0, 0.0), accuracy=(0.7,) * 3, questions=300)
    (short,) = table_of(tokens_of(three, 0, model="a"), keys=["model"]).to_dict("records")
    assert short["form"] in FORMS
    assert "step" not in short["form"]
    assert np.isnan(short["others_middle"])


def test_a_w_is_not_flat() -> None:
    # Neither bends nor tilts, both to within 0.5 layers; its third position lies 1.3 layers above the mean.
    design = replace(FLAT, effect=tuple(2 * part for part in SHAPES["W"]), questions=500, zeros=0.97)
    found = [outcome(design, seed, permutations=199) for seed in range(6)]
    assert sum(one.is_level_in_bend_and_tilt for one in found) >= 4
    assert study_rates(found, 1).flat == 0


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
    opposite = {"inverted U": "U", "rising": "falling", "recency step down": "recency step up"}
    for effect, verdict in (
        ((0.0, 3.0, 4.0, 3.0, 0.0), "inverted U"),
        ((0.0, 1.0, 2.0, 3.0, 4.0), "rising"),
        ((5.0, 5.0, 5.0, 5.0, 0.0), "recency step down"),
    ):
        rows = tokens_of(replace(FLAT, effect=effect), 2, model="a")
        turned = rows.assign(refinement_depth=-rows["refinement_depth"])
        for study, expected in ((rows, verdict), (turned, opposite[verdict])):
            (found,) = table_of(study, keys=["model"])["form"]
            assert found == expected


def simulated(design: Design, simulations: int, permutations: int = 199) -> list:
    """Test simulated curves, with fewer draws than the benchmark: a test at 5% keeps its level with any 20k − 1."""
    return [outcome(design, seed, permutations=permutations) for seed in range(simulations)]


@pytest.mark.slow
def test_flat_studies_get_a_shape_as_often_as_they_may() -> None:
    found = simulated(replace(FLAT, questions=40), 402)
    alone, together = study_rates(found, 1), study_rates(found, 3)
    low, high = (bound / 402 for bound in binom.interval(0.999, 402, 0.05))
    for rate in (alone.tests["contrast"], alone.tests["slope"], alone.bent + alone.stepped / 2):
        assert low <= rate <= high
    assert alone.tilted <= high
    # A step is never a shape more: it renames one.
    assert alone.shaped <= alone.tests["contrast"] + alone.tests["slope"]
    assert alone.tests["quadratic"] <= high
    assert alone.tests["two lines"] <= 0.05  # both slopes by chance, and of opposite signs
    assert together.bent <= binom.ppf(0.999, 134, 0.05) / 134
    assert together.tilted <= binom.ppf(0.999, 134, 0.05) / 134


@pytest.mark.slow
def test_what_is_there_is_found_about_as_often_as_promised() -> None:
    design = replace(FLAT, questions=60)
    flat = simulated(design, 100, 599)  # with 199, no p is small enough for a sixth of the level
    smallest = {curves: float(np.mean([one.smallest(curves) for one in flat[:30]])) for curves in (1, 6)}
    found = {curves: simulated(shaped("inverted U", effect, 60), 120, 599) for curves, effect in smallest.items()}
    rates = study_rates(found[1], 1)
    assert 0.6 <= rates.tests["contrast"] <= 0.92
    assert rates.forms["U"] == 0
    # Among six curves, the corrected effect is found as often as the other one alone; that one no longer is.
    assert 0.6 <= power_among(found[6], flat, 6) <= 0.92
    assert power_among(found[1], flat, 6) < power_among(found[6], flat, 6) - 0.05


@pytest.mark.slow
def test_steps_are_told_from_lines_and_us() -> None:
    design = replace(FLAT, questions=200)
    named_step = {
        shape: study_rates(simulated(replace(design, effect=tuple(2 * part for part in SHAPES[shape])), 60), 1).stepped
        for shape in ("recency step down", "primacy step down", "linear", "inverted U")
    }
    assert named_step["recency step down"] > 0.6
    assert named_step["primacy step down"] > 0.6
    assert named_step["linear"] < 0.15
    assert named_step["inverted U"] < 0.15


def test_an_effect_at_the_bound_is_rarely_called_more_or_less() -> None:
    found = study_rates(simulated(shaped("inverted U", BOUND, 200), 120), 1)
    assert found.sizes["beyond"] <= binom.ppf(0.999, 120, 0.025) / 120
    assert found.sizes["within"] + found.flat <= binom.ppf(0.999, 120, 0.05) / 120


@pytest.mark.slow
def test_a_lens_without_a_tie_to_any_cause_seldom_points_anywhere() -> None:
    """The placebo of make validate-shape, smaller: 5% of 150 and three standard errors are 10.3%."""
    for profile in (BRIEF["labels shuffled"], BRIEF["neighbours correlate by 0.8"]):
        assert np.mean([says_something(Placebo(profile), seed) for seed in range(150)]) < 0.103
    tied = Placebo(BRIEF["neighbours correlate by 0.5"], tie=0.95)
    assert np.mean([says_something(tied, seed) for seed in range(30)]) > 0.9
