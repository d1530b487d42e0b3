"""What happens at each layer: the view and the tables of it, against plain counts over the rows that were loaded."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import duckdb
import pandas as pd
import pytest

from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.findings import busiest_layers
from lenscore.analysis.layers import (
    entropy_by_layer,
    essential_layers,
    flips_by_layer,
    frequent_top1,
    layers_reached,
    right_by_layer,
    with_rises,
)
from lenscore.analysis.means import means_with_intervals, ratios_with_intervals
from lenscore.analysis.regions import region_names, region_of
from tests.made_study import LENGTHS, MadeStudy
from tests.small_study import OTHER, TARGET, L

BOOTSTRAP = Bootstrap(resamples=200, confidence=0.95, seed=0)
# Of one context's tokens: question, number of documents, gold index, and the rows of each token by layer.
Tokens = list[tuple[str, int, int, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> MadeStudy:
    study = MadeStudy(tmp_path_factory.mktemp("layers"))
    study.load()
    return study


@pytest.fixture(scope="module")
def layers(study: MadeStudy) -> pd.DataFrame:
    with duckdb.connect(str(study.target), read_only=True) as database:
        found = database.sql("select * from context_layers where model = 'tiny' and lens = 'logit' order by all").df()
    return with_rises(found)


@pytest.fixture(scope="module")
def tokens(study: MadeStudy) -> Tokens:
    """The rows as they were made, of contexts with documents, through the logit lens."""
    rows = sorted(
        (row for row in study.rows[0] if row["lens"] == "logit" and not row["context_id"].endswith("/None")),
        key=lambda row: (row["context_id"], row["answer_index"], row["layer"]),
    )
    found = []
    for (context, _), of_token in itertools.groupby(rows, key=lambda row: (row["context_id"], row["answer_index"])):
        _, question, n, place = context.split("/")
        found.append((question, int(n), int(place), list(of_token)))
    return found


def right(rows: list[dict[str, Any]]) -> list[bool]:
    return [row["top1_id"] == TARGET for row in rows]


def first(rows: list[dict[str, Any]]) -> int:
    return right(rows).index(True)


def settled(rows: list[dict[str, Any]]) -> int:
    return max((layer + 1 for layer, is_right in enumerate(right(rows)) if not is_right), default=0)


def chosen(tokens: Tokens, n: Any, place: Any) -> list[list[dict[str, Any]]]:
    """Return the tokens of a row's contexts: of all, of a number of documents, or of a place."""
    return [
        rows for _, length, index, rows in tokens if (pd.isna(n) or n == length) and (pd.isna(place) or place == index)
    ]


PLAIN: dict[str, Callable[[list[bool], int], bool]] = {
    "n_tokens": lambda tops, layer: True,
    "n_top1": lambda tops, layer: tops[layer],
    "n_right_before": lambda tops, layer: layer > 0 and tops[layer - 1],
    "n_lost": lambda tops, layer: layer > 0 and tops[layer - 1] and not tops[layer],
    "n_lost_before": lambda tops, layer: layer > 0 and not tops[layer - 1] and any(tops[:layer]),
    "n_regained": lambda tops, layer: layer > 0 and tops[layer] and not tops[layer - 1] and any(tops[:layer]),
    "n_right": lambda tops, layer: tops[-1],
    "n_first_right": lambda tops, layer: tops[-1] and tops[layer] and not any(tops[:layer]),
    "n_settled": lambda tops, layer: all(tops[layer:]) and (layer == 0 or not tops[layer - 1]),
}


def test_the_view_counts_as_plain_code_does(layers: pd.DataFrame, tokens: Tokens) -> None:
    assert len(layers) == len({(q, n, place) for q, n, place, _ in tokens}) * (L + 1)
    for row in layers.itertuples():
        here = [
            rows for q, n, place, rows in tokens if (q, n, place) == (row.question_id, row.n_documents, row.gold_index)
        ]
        for name, holds in PLAIN.items():
            assert getattr(row, name) == sum(holds(right(rows), row.layer) for rows in here), name
        assert row.sum_probability == pytest.approx(
            sum(math.exp(rows[row.layer]["target_logprob"]) for rows in here), abs=1e-6
        )
        if row.layer == 0:
            assert math.isnan(row.sum_rise)
        else:
            rises = [
                rows[row.layer]["target_logprob"] - rows[row.layer - 1]["target_logprob"]
                for rows in here
                if right(rows)[-1]
            ]
            assert row.sum_rise == pytest.approx(sum(rises), abs=1e-6)


def test_the_view_holds_contexts_with_documents_alone(study: MadeStudy) -> None:
    found = study.query("select distinct n_documents from context_layers order by all")
    assert [n for (n,) in found] == list(LENGTHS)


def test_where_tokens_become_right_and_settle(layers: pd.DataFrame, tokens: Tokens) -> None:
    table = layers_reached(layers, BOOTSTRAP)
    events = {"first_correct": first, "settled": settled}
    for row in table.itertuples():
        ending = [rows for rows in chosen(tokens, row.n_documents, row.gold_index) if right(rows)[-1]]
        assert row.n_right == len(ending)
        assert row.n == sum(events[row.event](rows) == row.layer for rows in ending)
        assert row.share == pytest.approx(row.n / row.n_right)
        assert row.low <= row.share <= row.high
    assert len(table) == (sum(LENGTHS) + len(LENGTHS)) * 2 * (L + 1)
    sums = table.groupby(["event", "n_documents", "gold_index"], dropna=False)["share"].sum()
    assert sums.tolist() == pytest.approx([1] * len(sums))


def test_nothing_right_reaches_no_layer(layers: pd.DataFrame) -> None:
    none = layers.assign(n_right=0, n_first_right=0, n_settled=0)
    assert layers_reached(none, BOOTSTRAP).empty
    assert essential_layers(none, 3).empty


def test_how_often_a_layer_is_right(layers: pd.DataFrame, tokens: Tokens) -> None:
    table = right_by_layer(layers, BOOTSTRAP)
    for row in table.itertuples():
        here = chosen(tokens, row.n_documents, row.gold_index)
        assert row.n_tokens == len(here)
        assert row.share_right == pytest.approx(sum(right(rows)[row.layer] for rows in here) / len(here))
        mean = sum(math.exp(rows[row.layer]["target_logprob"]) for rows in here) / len(here)
        assert row.mean_probability == pytest.approx(mean, abs=1e-6)
        assert row.low <= row.share_right <= row.high
    assert len(table) == sum(LENGTHS) * (L + 1)


def test_where_right_tokens_are_lost(layers: pd.DataFrame, tokens: Tokens) -> None:
    table = flips_by_layer(layers, BOOTSTRAP)
    assert len(table) == (1 + len(LENGTHS) + sum(LENGTHS)) * L
    for row in table.itertuples():
        tops = [right(rows) for rows in chosen(tokens, row.n_documents, row.gold_index)]
        for name in ("n_tokens", "n_right_before", "n_lost", "n_lost_before", "n_regained"):
            assert getattr(row, name) == sum(PLAIN[name](top, row.layer) for top in tops), name
        assert row.lost == pytest.approx(row.n_lost / len(tops))
        assert row.regained == pytest.approx(row.n_regained / len(tops))
        assert row.lost_low <= row.lost <= row.lost_high
        assert row.regained_low <= row.regained <= row.regained_high
        for share, part, whole in (
            (row.share_lost, row.n_lost, row.n_right_before),
            (row.share_regained, row.n_regained, row.n_lost_before),
        ):
            assert share == pytest.approx(part / whole) if whole else math.isnan(share)


def test_essential_layers_over_all_by_length_and_by_place(layers: pd.DataFrame, tokens: Tokens) -> None:
    table = essential_layers(layers, 3)
    position = {(n, place): place / (n - 1) for n in LENGTHS for place in range(n)}
    for row in table.itertuples():
        ending = [
            rows
            for _, n, place, rows in tokens
            if right(rows)[-1]
            and (pd.isna(row.n_documents) or n == row.n_documents)
            and (pd.isna(row.gold_index) or place == row.gold_index)
            and (row.region == "all" or ["start", "middle", "end"][min(2, int(3 * position[n, place]))] == row.region)
        ]
        assert row.n_right == len(ending)
        assert row.share_first_right == pytest.approx(sum(first(rows) == row.layer for rows in ending) / len(ending))
        assert row.share_settled == pytest.approx(sum(settled(rows) == row.layer for rows in ending) / len(ending))
        if row.layer == 0:
            assert math.isnan(row.mean_rise)
        else:
            rises = [rows[row.layer]["target_logprob"] - rows[row.layer - 1]["target_logprob"] for rows in ending]
            assert row.mean_rise == pytest.approx(sum(rises) / len(rises), abs=1e-6)
    whole = table[table["n_documents"].isna()]
    assert list(dict.fromkeys(whole["region"])) == ["all", "start", "middle", "end"]
    assert set(table.loc[table["gold_index"].notna(), "region"]) == {"start", "middle", "end"}


def test_the_busiest_layers_are_those_of_all_contexts() -> None:
    rows = [
        {"model": "m", "context_set": "main", "lens": "logit", "n_documents": n, "region": "all", "layer": layer,
         "share_first_right": share, "share_settled": share, "mean_rise": share}
        for n, shares in ((None, (0.1, 0.3, 0.6)), (5, (0.9, 0.1, 0.0)))
        for layer, share in enumerate(shares)
    ]  # fmt: skip
    busiest = {finding["measure"]: finding for finding in busiest_layers(pd.DataFrame(rows), 2)}
    assert busiest["mean_rise"]["layers"] == [2, 1]
    assert busiest["share_settled"]["values"] == [0.6, 0.3]
    assert busiest["share_settled"]["n_layers"] == 2


@pytest.mark.parametrize(
    ("regions", "position", "name"),
    [
        (3, 0.0, "start"),
        (3, 0.33, "start"),
        (3, 0.34, "middle"),
        (3, 1.0, "end"),
        (2, 0.5, "second half"),
        (4, 1.0, "4/4"),
    ],
)
def test_regions_are_equal_parts(regions: int, position: float, name: str) -> None:
    assert region_of(pd.Series([position]), regions).tolist() == [name]
    assert len(region_names(regions)) == regions


def test_a_ratio_of_sums_is_the_mean_of_what_was_summed() -> None:
    """The interval too: the same questions are drawn."""
    single = pd.DataFrame(
        {"k": "x", "cell": [0, 0, 0, 1, 1, 0, 1], "question_id": list("aabbbcc"), "value": [1.0, 0, 1, 1, 0, 0, 1]}
    )
    means = means_with_intervals(single, "value", ["k"], ["cell"], BOOTSTRAP)
    summed = single.assign(n=1).groupby(["k", "cell", "question_id"], as_index=False)[["value", "n"]].sum()
    ratios = ratios_with_intervals(summed, "value", "n", ["k"], ["cell"], BOOTSTRAP)
    assert ratios["ratio"].tolist() == means["mean"].tolist() == pytest.approx([0.5, 2 / 3])
    assert ratios[["low", "high"]].to_numpy().tolist() == means[["low", "high"]].to_numpy().tolist()
    assert ratios["n"].tolist() == means["n_tokens"].tolist()
    assert ratios["n_questions"].tolist() == means["n_questions"].tolist()


def test_entropies_are_means_over_the_tokens_of_a_layer_and_place(layers: pd.DataFrame, tokens: Tokens) -> None:
    table = entropy_by_layer(layers, BOOTSTRAP)
    assert len(table) == (L + 1) * (1 + len(LENGTHS) + sum(LENGTHS))
    for row in table.itertuples():
        plain = [rows[row.layer]["entropy"] for rows in chosen(tokens, row.n_documents, row.gold_index)]
        assert row.entropy == pytest.approx(sum(plain) / len(plain), abs=1e-6)
        assert row.n_tokens == len(plain)
        assert row.low <= row.entropy + 1e-9
        assert row.high >= row.entropy - 1e-9


def test_frequent_top_choices_are_counted_by_their_rank(study: MadeStudy, tokens: Tokens) -> None:
    with duckdb.connect(str(study.target)) as database:
        database.execute("begin transaction")
        database.execute("delete from token_counts where model = 'tiny'")
        # The answer's token has rank 1, the other one 11; the third occurs in no document.
        counts = [(TARGET, 99), *((100 + number, 50) for number in range(9)), (OTHER, 2)]
        database.executemany("insert into token_counts values ('tiny', ?, ?)", counts)
        rows = database.sql("select * from frequent_top1 where model = 'tiny' and lens = 'logit' order by all").df()
        database.execute("rollback")
    table = frequent_top1(rows, BOOTSTRAP)
    assert len(table) == 2 * (L + 1) * (1 + len(LENGTHS) + sum(LENGTHS))
    for row in table.itertuples():
        among = {10: {TARGET}, 100: {TARGET, OTHER}}[row.most]
        tops = [rows[row.layer]["top1_id"] for rows in chosen(tokens, row.n_documents, row.gold_index)]
        assert row.n == sum(top in among for top in tops)
        assert (row.n_tokens, row.share) == (len(tops), pytest.approx(row.n / len(tops)))
    differ = table.groupby("most")["n"].sum()
    assert differ[10] < differ[100] < table[table["most"] == 100]["n_tokens"].sum()
