"""What the report says and draws of ablations, and that it stands without them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import vl_convert

from lenscore.plan.paths import TABLES
from lenscore.report.charts import CHART_FUNCTIONS
from lenscore.report.page.sentences import about_cause
from tests.made_study import N_QUESTIONS

pytestmark = pytest.mark.slow

ROW: dict[str, Any] = {
    "model": "m",
    "context_set": "main",
    "lens": "logit",
    "scope": "all",
    "replacement": "skip",
    "observation": "mean_rise",
    "cause": "logprob_drop",
    "n_blocks": 30,
    "n_questions": 50,
}
SAYS = {
    "agrees": "points to the blocks that matter.",
    "agrees in part": "points to the blocks that matter, but only in part.",
    "nothing": "is not shown to point to the blocks that matter.",
    "the other way": "points away from the blocks that matter.",
}


SETTINGS = {"confidence": 0.95}


@pytest.mark.parametrize(
    ("tau", "low", "high", "without", "p", "says"),
    [
        (0.7, 0.5, 0.8, 0.6, 0.03, "agrees"),
        (0.7, 0.5, 0.8, 0.4, 0.03, "agrees in part"),
        (0.31, 0.1, 0.45, 0.31, 0.03, "agrees in part"),
        (0.31, 0.0, 0.45, 0.31, 0.05, "agrees in part"),
        # However narrow the interval over questions is.
        (0.7, 0.6, 0.8, 0.7, 0.051, "nothing"),
        (-0.4, -0.6, -0.1, -0.4, 0.2, "nothing"),
        (-0.4, -0.6, -0.1, -0.4, 0.03, "the other way"),
        # Block 1 alone makes it.
        (0.1, 0.05, 0.2, -0.4, 0.03, "the other way"),
    ],
)
def test_the_words_on_cause_follow_p_over_blocks(
    tau: float, low: float, high: float, without: float, p: float, says: str
) -> None:
    sentence = about_cause(
        {**ROW, "tau": tau, "low": low, "high": high, "tau_without_first": without, "p_corrected": p}, SETTINGS
    )
    assert sentence.startswith("m: over the 30 blocks and 50 questions, the order by how much")
    assert f"τ = {tau:+.2f}".replace("-", "−") in sentence
    assert f"without block 1, τ = {without:+.2f} (corrected p = {p:.3f}".replace("-", "−") in sentence
    assert [words for words, text in SAYS.items() if sentence.endswith(text)] == [says]


def test_the_words_name_lens_scope_and_replacement() -> None:
    row = ROW | {
        "tau": 0.7,
        "low": 0.6,
        "high": 0.8,
        "tau_without_first": 0.7,
        "p_corrected": 0.02,
        "lens": "tuned",
        "scope": "answer",
        "replacement": "mean",
    }
    sentence = about_cause({**row, "observation": "share_settled", "context_set": "short"}, SETTINGS)
    assert "m, short: " in sentence
    assert "settle at their outputs in the tuned lens" in sentence
    assert "replacing a block's contribution by its mean at the answer alone costs in log-probability" in sentence


def test_what_cannot_be_compared_is_said() -> None:
    unknown = dict.fromkeys(("tau", "low", "high", "tau_without_first", "p_corrected"))
    sentence = about_cause({**ROW, **unknown}, SETTINGS)
    assert "cannot be compared" in sentence


def essential_layers(page_file: Path) -> pd.DataFrame:
    return pd.read_parquet(page_file.parent.parent / "tables/essential_layers.parquet")


def drawn(table: pd.DataFrame) -> str:
    svg: str = vl_convert.vegalite_to_svg(CHART_FUNCTIONS["essential_layers"](table).to_dict())
    assert "NaN" not in svg
    assert "undefined" not in svg
    return svg


def test_the_chart_draws_the_cause_where_there_is_one(page_file: Path) -> None:
    table = essential_layers(page_file)
    svg = drawn(table)
    assert "drop of log p" in svg
    assert "the block is skipped" in svg
    assert 'aria-roledescription="rule mark"' in svg
    other = drawn(table.assign(scope="answer", replacement="mean"))
    assert "the block adds its mean" in other
    assert "at the answer alone" in other
    spec = CHART_FUNCTIONS["essential_layers"](table).to_dict()
    rows = [row for rows in spec["datasets"].values() for row in rows if row["layer"] and row["region"] == "all"]
    plotted = [row for row in rows if row["logprob_drop"] is not None and row["gold_index"] is None]
    # Two answer tokens of each question, with the gold document at each of three places.
    assert {row["n_ablated"] for row in plotted} == {N_QUESTIONS * 3 * 2}
    assert {(row["layer"], row["logprob_drop"]) for row in plotted} == {(1, 1.0), (2, 2.0), (3, 3.0)}


def test_the_chart_stands_without_ablation(small_page_file: Path) -> None:
    table = essential_layers(small_page_file)
    assert "drop of log p" not in drawn(table)
    older = table[[column for column in table if "drop" not in column]]
    assert "drop of log p" not in drawn(older)


def test_a_model_that_was_not_ablated_has_a_panel_without_cause(page_file: Path) -> None:
    table = essential_layers(page_file)
    assert table[table["model"] == "twin"]["logprob_drop"].isna().all()
    svg = drawn(table[table["lens"] == "logit"])
    panels = {model: svg.count(f">{model}</text>") for model in ("tiny", "twin")}
    # One for each measure; the last is of ablation.
    assert panels == {"tiny": 4, "twin": 3}


@pytest.mark.parametrize("ablated", [True, False])
def test_the_page_says_what_was_ablated_or_nothing(page_file: Path, small_page_file: Path, ablated: bool) -> None:
    file = page_file if ablated else small_page_file
    page = file.read_text(encoding="utf-8")
    assert {table.stem for table in (file.parent.parent / "tables").glob("*.parquet")} == {*TABLES, "examples"}
    assert ("log p lost (nats)" in page) == ablated
    assert (f"tiny: over the 3 blocks and {N_QUESTIONS} questions" in page) == ablated
    assert ("what is lost when the block is skipped at every token" in page) == ablated
    assert ("+2.00</td>" in page) == ablated
    assert "nan" not in page[page.index('<h2 id="essential-table"') : page.index('<h2 id="coverage"')].lower()
