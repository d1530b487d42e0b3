"""What ablation costs and whether a lens points at it: by hand, against plain code, and as properties."""

import itertools
import math
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lenscore.analysis.ablation import block_effects, lens_against_cause
from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.kendall import kendall_tau
from lenscore.analysis.layers import with_causes
from lenscore.analysis.ring import ring_orders, ring_p

BOOTSTRAP = Bootstrap(resamples=300, confidence=0.95, seed=0)
REGIONS = 2
PLACE = [
    "model", "context_set", "question_id", "n_documents", "gold_index", "relative_position", "scope", "replacement",
    "block",
]  # fmt: skip


def drop_row(question: str, block: int, intact: tuple[bool, float], ablated: tuple[bool, float], **other: Any) -> dict:
    """One answer token × block of view ablation_drops: (right, log-probability) intact and ablated."""
    return {
        "model": "m",
        "context_set": "main",
        "context_id": f"main/{question}/3/0",
        "question_id": question,
        "condition": "documents",
        "n_documents": 3,
        "gold_index": 0,
        "relative_position": 0.0,
        "answer_index": 0,
        "scope": "all",
        "replacement": "skip",
        "block": block,
        "intact_right": intact[0],
        "ablated_right": ablated[0],
        "intact_logprob": intact[1],
        "ablated_logprob": ablated[1],
        "kl_from_intact": 0.5 * block,
        **other,
    }


def summed(drops: list[dict[str, Any]]) -> pd.DataFrame:
    """View ablation_sums of rows of view ablation_drops, in plain code."""
    sums: dict[tuple[Any, ...], list[float]] = {}
    for row in drops:
        if row["condition"] == "documents":
            total = sums.setdefault(tuple(row[name] for name in PLACE), [0, 0, 0.0, 0.0])
            total[0] += 1
            total[1] += int(row["intact_right"]) - int(row["ablated_right"])
            total[2] += row["intact_logprob"] - row["ablated_logprob"]
            total[3] += row["kl_from_intact"]
    columns = [*PLACE, "n_tokens", "sum_accuracy_drop", "sum_logprob_drop", "sum_kl"]
    return pd.DataFrame([(*place, *total) for place, total in sums.items()], columns=columns)


def rise_row(question: str, layer: int, first: int, settled: int, rise: float | None, **other: Any) -> dict:
    """What is read of a row of view context_layers, of 4 answer tokens that end right."""
    return {
        "model": "m", "context_set": "main", "lens": "logit", "question_id": question, "layer": layer, "n_right": 4,
        "n_first_right": first, "n_settled": settled, "sum_rise": rise, **other,
    }  # fmt: skip


def two_questions() -> list[dict[str, Any]]:
    right, wrong = (True, -1.0), (False, -3.0)
    last: dict[str, Any] = {"gold_index": 2, "relative_position": 1.0}
    return [
        drop_row("a", 1, right, wrong), drop_row("a", 2, right, right),
        drop_row("a", 1, right, (True, -2.0), **last), drop_row("a", 2, right, wrong, **last),
        drop_row("b", 1, wrong, right), drop_row("b", 2, wrong, wrong),
        drop_row("b", 1, wrong, right, condition="oracle", gold_index=None, relative_position=None),
    ]  # fmt: skip


def found(table: pd.DataFrame, **where: Any) -> pd.Series:
    for column, value in where.items():
        table = table[table[column] == value]
    (row,) = [row for _, row in table.iterrows()]
    return row


def of_all(table: pd.DataFrame) -> pd.DataFrame:
    """The rows pooled over numbers of documents and positions."""
    return table[table["n_documents"].isna()]


def test_drops_by_hand() -> None:
    whole = block_effects(summed(two_questions()), BOOTSTRAP, REGIONS)
    table = of_all(whole)
    first = found(table, region="all", block=1)
    # Block 1 makes a token of three wrong and another right; it costs 2 and 1 nats, and gains 2.
    assert first["accuracy_drop"] == pytest.approx((1 + 0 - 1) / 3)
    assert first["logprob_drop"] == pytest.approx((2 + 1 - 2) / 3)
    assert (first["mean_kl"], first["n_questions"], first["n_tokens"]) == (0.5, 2, 3)
    # Drawn alone, question a loses half its tokens and 1.5 nats; question b gains its one, and 2.
    assert (first["accuracy_drop_low"], first["accuracy_drop_high"]) == (-1, 0.5)
    assert (first["logprob_drop_low"], first["logprob_drop_high"]) == (-2, 1.5)
    second = found(table, region="second half", block=2)
    assert (second["accuracy_drop"], second["logprob_drop"], second["n_questions"]) == (1, 2, 1)
    assert list(table["region"].drop_duplicates()) == ["all", "first half", "second half"]
    # There is one number of documents; at the first place a loses a token of block 1 and b gains one.
    of_length = whole[whole["gold_index"].isna() & (whole["n_documents"] == 3)]
    columns = [column for column in whole if column != "n_documents"]
    pd.testing.assert_frame_equal(of_length[columns].reset_index(drop=True), table[columns].reset_index(drop=True))
    place = found(whole[whole["gold_index"] == 0], block=1)
    assert (place["region"], place["accuracy_drop"], place["logprob_drop"]) == ("first half", 0, 0)
    place = found(whole[whole["gold_index"] == 2], block=1)
    assert (place["region"], place["accuracy_drop"], place["logprob_drop"]) == ("second half", 0, 1)


def test_nothing_ablated_gives_tables_with_their_columns() -> None:
    effects = block_effects(summed([]), BOOTSTRAP, REGIONS)
    assert effects.empty
    assert {"region", "accuracy_drop_low", "mean_kl", "n_tokens"} <= set(effects)
    rises = pd.DataFrame([rise_row("a", 1, 1, 1, 1.0)]).iloc[:0]
    agreement = lens_against_cause(rises, summed(two_questions()), BOOTSTRAP)
    assert agreement.empty
    assert {"tau", "low", "high", "n_blocks", "n_questions"} <= set(agreement)


@settings(max_examples=10, deadline=None)
@given(
    rights=arrays.arrays(bool, (4, 3)),
    logprobs=arrays.arrays(float, (4, 3), elements=st.floats(-30, 0)),
    shift=st.floats(0, 5),
)
def test_drops_are_zero_where_ablated_equals_intact_and_follow_a_shift(
    rights: np.ndarray, logprobs: np.ndarray, shift: float
) -> None:
    rows = [
        drop_row(f"q{q}", b + 1, (rights[q, b], logprobs[q, b]), (rights[q, b], logprobs[q, b] - (shift if b else 0)))
        for q, b in itertools.product(range(4), range(3))
    ]
    table = block_effects(summed(rows), Bootstrap(resamples=100, confidence=0.95, seed=0), regions=1)
    accuracy = table[["accuracy_drop", "accuracy_drop_low", "accuracy_drop_high"]]
    assert (accuracy == 0).all(axis=None)
    wanted = np.where(table["block"] == 1, 0, shift)
    for column in ("logprob_drop", "logprob_drop_low", "logprob_drop_high"):
        assert table[column].to_numpy() == pytest.approx(wanted, abs=1e-9)


def plain_tau(first: list[float], second: list[float]) -> float:
    """Kendall's τ-b, pair by pair."""
    agreement = untied_first = untied_second = 0
    for i, j in itertools.combinations(range(len(first)), 2):
        a, b = np.sign(first[i] - first[j]), np.sign(second[i] - second[j])
        agreement += a * b
        untied_first += a != 0
        untied_second += b != 0
    return agreement / math.sqrt(untied_first * untied_second) if untied_first and untied_second else math.nan


VALUES = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e3, 1e3, allow_subnormal=False))
PAIRS = st.integers(2, 12).flatmap(lambda n: arrays.arrays(float, (2, 3, n), elements=VALUES))


@given(PAIRS)
def test_tau_is_that_of_plain_code_and_of_scipy(pair: np.ndarray) -> None:
    taus = kendall_tau(*pair)
    for tau, first, second in zip(taus, *pair, strict=True):
        assert tau == pytest.approx(plain_tau(first, second), nan_ok=True)
        assert tau == pytest.approx(scipy.stats.kendalltau(first, second).statistic, nan_ok=True)


@given(PAIRS)
def test_tau_has_its_range_and_turns_with_either_side(pair: np.ndarray) -> None:
    first, second = pair
    taus = kendall_tau(first, second)
    known = taus[~np.isnan(taus)]
    assert (np.abs(known) <= 1 + 1e-12).all()
    np.testing.assert_array_equal(kendall_tau(second, first), taus)
    np.testing.assert_array_equal(kendall_tau(-first, second), -taus)
    with_itself = kendall_tau(first, first)
    assert with_itself[~np.isnan(with_itself)] == pytest.approx(1)


def test_tau_of_values_unknown_is_unknown() -> None:
    assert math.isnan(kendall_tau(np.array([[1.0, np.nan, 2.0]]), np.array([[1.0, 2.0, 3.0]]))[0])


def test_agreement_by_hand() -> None:
    """Two questions alike, so that every resample is the whole: orders 1 < 2 < 3 by cost, 2 < 1 < 3 by rise."""
    rises = [
        rise_row(q, layer, first, settled, rise)
        for q in "ab"
        for layer, first, settled, rise in ((0, 4, 0, None), (1, 0, 1, 2.0), (2, 0, 1, 1.0), (3, 0, 2, 3.0))
    ]
    drops = [drop_row(q, b, (True, 0.0), (b < 3, -b)) for q in "ab" for b in (1, 2, 3)]
    table = lens_against_cause(pd.DataFrame(rises), summed(drops), BOOTSTRAP)
    rise = found(table, observation="mean_rise", cause="logprob_drop")
    assert (rise["tau"], rise["low"], rise["high"]) == pytest.approx((1 / 3,) * 3)
    assert (rise["n_blocks"], rise["n_questions"]) == (3, 2)
    settled = found(table, observation="share_settled", cause="logprob_drop")
    assert settled["tau"] == pytest.approx(2 / math.sqrt(2 * 3))  # blocks 1 and 2 are tied by it
    assert found(table, observation="share_settled", cause="accuracy_drop")["tau"] == pytest.approx(1)
    # All blocks are tied by first-right at 0, so that nothing can be said.
    assert math.isnan(found(table, observation="share_first_right", cause="accuracy_drop")["tau"])


def test_resamples_hold_the_same_questions_on_both_sides() -> None:
    """Question a rises and costs in one order of blocks, b in the other: paired, they always agree."""
    order = {"a": (1.0, 2.0, 4.0), "b": (4.0, 2.0, 1.0)}
    rises = [rise_row(q, b, 1, 1, 4 * order[q][b - 1]) for q in "ab" for b in (1, 2, 3)]
    drops = [drop_row(q, b, (True, 0.0), (True, -order[q][b - 1])) for q in "ab" for b in (1, 2, 3)]
    table = lens_against_cause(pd.DataFrame(rises), summed(drops), BOOTSTRAP)
    row = found(table, observation="mean_rise", cause="logprob_drop")
    assert (row["tau"], row["low"], row["high"]) == pytest.approx((1, 1, 1))


def simulated(n_questions: int, n_blocks: int, agrees: float, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    worth = rng.normal(size=n_blocks)
    shown = agrees * worth + math.sqrt(1 - agrees**2) * rng.normal(size=n_blocks)
    rises, drops = [], []
    for q, b in itertools.product(range(n_questions), range(n_blocks)):
        rises.append(rise_row(f"q{q}", b + 1, 0, int(rng.integers(3)), 4 * (shown[b] + rng.normal(scale=0.3))))
        drops.append(drop_row(f"q{q}", b + 1, (True, 0.0), (True, -worth[b] + rng.normal(scale=0.3))))
    return pd.DataFrame(rises), summed(drops)


@pytest.mark.parametrize(("agrees", "above", "below"), [(1.0, 0.8, 1.01), (0.0, -0.5, 0.5), (-1.0, -1.01, -0.8)])
def test_agreement_of_simulated_studies(agrees: float, above: float, below: float) -> None:
    table = lens_against_cause(*simulated(40, 20, agrees), BOOTSTRAP)
    row = found(table, observation="mean_rise", cause="logprob_drop")
    assert above < row["tau"] < below
    assert above - 0.1 < row["low"] <= row["high"] < below + 0.1


def test_thirty_blocks_take_little_time() -> None:
    rises, drops = simulated(60, 30, 0.5)
    began = time.process_time()
    lens_against_cause(rises, drops, Bootstrap(resamples=2000, confidence=0.95, seed=0))
    assert time.process_time() - began < 5


def essential_rows() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"model": "m", "context_set": "main", "lens": lens, "n_documents": None, "gold_index": None,
             "relative_position": None, "region": region, "layer": layer, "n_right": 3,
             "share_first_right": 0.5, "share_settled": 0.5, "mean_rise": 1.0}
            for lens in ("logit", "tuned")
            for region in ("all", "first half")
            for layer in range(3)
        ]
    ).astype({"n_documents": "Int64", "gold_index": "Int64", "relative_position": float})  # fmt: skip


def test_causes_are_joined_to_observations() -> None:
    effects = block_effects(summed(two_questions()), BOOTSTRAP, REGIONS)
    other = effects.assign(scope="answer", logprob_drop=99.0)
    table = with_causes(essential_rows(), pd.concat([other, effects]))
    assert len(table) == len(essential_rows())
    for lens in ("logit", "tuned"):
        row = found(table, lens=lens, region="all", layer=1)
        assert row["logprob_drop"] == found(of_all(effects), region="all", block=1)["logprob_drop"]
        assert (row["scope"], row["replacement"]) == ("all", "skip")
        assert math.isnan(found(table, lens=lens, region="all", layer=0)["logprob_drop"])
    assert set(with_causes(essential_rows(), other)["scope"].dropna()) == {"answer"}


def test_without_ablation_the_causes_are_unknown() -> None:
    table = with_causes(essential_rows(), block_effects(summed([]), BOOTSTRAP, REGIONS))
    assert len(table) == len(essential_rows())
    assert table[["accuracy_drop", "logprob_drop_low"]].isna().all(axis=None)


def test_the_orders_of_a_ring_by_hand() -> None:
    assert ring_orders(3).tolist() == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [0, 2, 1], [1, 0, 2]]


def test_p_over_a_ring_by_hand() -> None:
    """Profiles 1 2 3 5 4 and 1 2 3 4 5: τ = 0.8; of the ten orders, only the own and its mirror image agree so far."""
    observation, cause = np.array([1.0, 2, 3, 5, 4]), np.array([1.0, 2, 3, 4, 5])
    turns = [np.roll(side, -start) for side in (observation, observation[::-1]) for start in range(5)]
    sizes = [abs(plain_tau(turn.tolist(), cause.tolist())) for turn in turns]
    assert sizes[0] == pytest.approx(0.8)
    assert sum(size >= 0.8 - 1e-9 for size in sizes) == 2
    p = ring_p(observation[np.newaxis], cause[np.newaxis])
    assert p.alone == pytest.approx([0.2])
    assert p.corrected == pytest.approx([0.2])


PROFILES = arrays.arrays(float, (2, 3, 7), elements=VALUES)


@given(PROFILES)
@settings(max_examples=30, deadline=None)
def test_p_over_a_ring_is_that_of_plain_code(profiles: np.ndarray) -> None:
    sizes = [
        [
            abs(plain_tau(np.roll(side, -start).tolist(), cause.tolist()))
            for side in (observation, observation[::-1])
            for start in range(7)
        ]
        for observation, cause in zip(*profiles, strict=True)
    ]
    largest = [max((size for size in at if not math.isnan(size)), default=-1) for at in zip(*sizes, strict=True)]
    p = ring_p(*profiles)
    for own, alone, corrected in zip(sizes, *p, strict=True):
        if math.isnan(own[0]):
            assert math.isnan(alone)
            assert math.isnan(corrected)
            continue
        assert alone == pytest.approx(sum(size >= own[0] - 1e-9 for size in own) / 14)
        assert corrected == pytest.approx(sum(size >= own[0] - 1e-9 for size in largest) / 14)
        assert corrected >= alone


def smooth(rng: np.random.Generator, n_blocks: int) -> np.ndarray:
    """A profile each of whose values is 0.8 of the one before, plus noise."""
    profile = [rng.normal()]
    for _ in range(n_blocks - 1):
        profile.append(0.8 * profile[-1] + 0.6 * rng.normal())
    return np.array(profile)


def test_smooth_profiles_without_a_tie_seldom_have_a_small_p_and_tied_ones_often() -> None:
    rng = np.random.default_rng(0)
    unrelated = [ring_p(*np.array([[smooth(rng, 29)], [smooth(rng, 29)]])).alone[0] for _ in range(300)]
    # 5% of 300, and three standard errors.
    assert np.mean(np.array(unrelated) <= 0.05) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    bases = [smooth(rng, 29) for _ in range(50)]
    tied = [ring_p(base[np.newaxis], (base + 0.3 * rng.normal(size=29))[np.newaxis]).alone[0] for base in bases]
    assert np.mean(np.array(tied) <= 0.05) > 0.9


def test_block_one_alone_makes_no_agreement() -> None:
    """Block 1 rises and costs most by far; the others' orders are opposite."""
    rises = [rise_row(q, b, 0, 1, 4 * (100.0 if b == 1 else b)) for q in "ab" for b in range(1, 5)]
    drops = [drop_row(q, b, (True, 0.0), (True, -100.0 if b == 1 else b - 9.0)) for q in "ab" for b in range(1, 5)]
    row = found(
        lens_against_cause(pd.DataFrame(rises), summed(drops), BOOTSTRAP), observation="mean_rise", cause="logprob_drop"
    )
    assert row["tau"] == pytest.approx(0)  # three pairs with block 1 agree, three do not
    assert row["tau_without_first"] == pytest.approx(-1)
    # Of the six orders of three blocks, the own and its mirror image.
    assert row["p"] == pytest.approx(1 / 3)


def test_p_is_corrected_over_what_is_stated_and_over_models() -> None:
    rises, drops = simulated(10, 20, 0.9)
    one = lens_against_cause(rises, drops, BOOTSTRAP)
    stated = one[(one["cause"] == "logprob_drop") & one["observation"].isin(["mean_rise", "share_settled"])]
    assert one["p_corrected"].notna().sum() == len(stated) == 2
    assert (stated["p_corrected"] >= stated["p"]).all()
    both = [pd.concat([rows, rows.assign(model="other")]) for rows in (rises, drops)]
    two = lens_against_cause(*both, BOOTSTRAP)
    again = two[(two["model"] == "m")].reset_index(drop=True)
    np.testing.assert_allclose(again["p"], one["p"])
    np.testing.assert_allclose(again["p_corrected"], (2 * one["p_corrected"]).clip(upper=1))
