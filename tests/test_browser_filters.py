"""What is chosen in the page, in a real browser: it shows in every chart, table and sentence."""

from pathlib import Path

import pytest

from tests.made_study import LENGTHS
from tests.opened_page import Opened, needs_browser

pytestmark = [pytest.mark.slow, needs_browser]


def test_a_length_left_out_is_left_out_of_all_charts(fresh: Opened) -> None:
    charts = ("refinement_curve", "accuracy_curve", "layers_reached", "right_by_layer", "controls", "populations")
    before = {chart: fresh.marks(chart) for chart in charts}
    fresh.page.uncheck(f"[name=documents][value='{LENGTHS[1]}']")
    fresh.settle()
    after = {chart: fresh.marks(chart) for chart in charts}
    assert all(after[chart] < before[chart] for chart in charts), (before, after)
    assert all(after.values())
    rows = fresh.page.locator("#shapes ~ .wide tbody tr:visible")
    assert {f"{LENGTHS[0]} documents" in text for text in rows.all_inner_texts()} == {True}
    fresh.page.click("button[type=reset]")
    fresh.settle()
    assert {chart: fresh.marks(chart) for chart in charts} == before


def test_the_lens_is_chosen_for_all_charts(fresh: Opened) -> None:
    def names(chart: str) -> str:
        return " ".join(fresh.page.locator(f"#{chart} text").all_text_contents())

    assert "tiny, logit" in names("refinement_curve")
    assert "tiny, tuned" not in names("refinement_curve")
    height = fresh.page.locator("#flips svg").bounding_box()["height"]
    fresh.page.select_option("[name=lens]", "tuned")
    fresh.settle()
    for chart in ("refinement_curve", "flips", "right_by_layer", "essential_layers"):
        assert "tiny, tuned" in names(chart)
        assert "tiny, logit" not in names(chart)
    assert fresh.page.locator("#flips svg").bounding_box()["height"] == pytest.approx(height, abs=2)
    assert fresh.ask("document.getElementById('explorer-lens').value") == "tuned"


def test_a_model_is_chosen_for_all_charts_tables_and_sentences(fresh: Opened) -> None:
    fresh.page.select_option("[name=model]", "twin")
    fresh.settle()
    for chart in ("refinement_curve", "accuracy_curve", "flips", "lens_divergence", "controls"):
        words = " ".join(fresh.page.locator(f"#{chart} text").all_text_contents())
        assert "twin" in words
        assert "tiny" not in words
    assert fresh.page.locator("[data-model=tiny]:visible").count() == 0
    assert fresh.page.locator("[data-model=twin]:visible").count() > 5
    assert {label.split(",")[0] for label in fresh.ask("[...pick.children].map((group) => group.label)")} == {"twin"}


def test_a_click_on_the_legend_chooses_a_length(fresh: Opened) -> None:
    before = fresh.marks("right_by_layer")
    fresh.page.locator("#refinement_curve .role-legend-label text", has_text=f"{LENGTHS[1]} documents").click(
        force=True
    )
    fresh.settle()
    assert fresh.page.locator("[name=documents]:checked").evaluate_all("(boxes) => boxes.map((box) => box.value)") == [
        str(LENGTHS[1])
    ]
    assert 0 < fresh.marks("right_by_layer") < before


def test_a_click_on_a_panels_title_chooses_its_model_and_lens_and_another_shows_all(fresh: Opened) -> None:
    def curves(chart: str) -> set[str]:
        return {words for words in ("tiny, logit", "tiny, tuned", "twin, logit", "twin, tuned")
                if words in " ".join(fresh.page.locator(f"#{chart} .role-title-text").all_text_contents())}  # fmt: skip

    assert curves("flips") == {"tiny, logit", "twin, logit"}
    fresh.page.locator("#right_by_layer .role-title-text text", has_text="twin, logit").first.click()
    fresh.settle()
    assert curves("flips") == curves("refinement_curve") == curves("essential_layers") == {"twin, logit"}
    assert (fresh.page.input_value("[name=model]"), fresh.page.input_value("[name=lens]")) == ("twin", "logit")
    fresh.page.locator("#flips .role-title-text text", has_text="twin, logit").first.click()
    fresh.settle()
    assert len(curves("flips")) == 4
    assert (fresh.page.input_value("[name=model]"), fresh.page.input_value("[name=lens]")) == ("", "")


@pytest.mark.parametrize("chosen", ["length", "position"])
def test_bars_are_of_what_is_chosen(fresh: Opened, page_file: Path, chosen: str) -> None:
    """The bars of the flips, as their tips say them, against the table that the page links."""
    import pandas as pd

    table = pd.read_parquet(page_file.parent.parent / "tables/flips.parquet")
    table = table[(table["model"] == "tiny") & (table["lens"] == "logit")]
    if chosen == "length":
        fresh.page.uncheck(f"[name=documents][value='{LENGTHS[0]}']")
        wanted = table[table["gold_index"].isna() & (table["n_documents"] == LENGTHS[1])]
    else:
        fresh.page.fill("#from", "0.9")
        fresh.page.press("#from", "Tab")
        wanted = table[table["relative_position"] == 1]
    fresh.settle()
    tips = fresh.page.locator("#flips .mark-rect [aria-label]").evaluate_all("(bars) => bars.map((b) => b.ariaLabel)")
    said = [dict(part.split(": ", 1) for part in tip.split("; ")) for tip in tips]
    lost = [tip for tip in said if tip["curve"] == "tiny, logit" and tip["event"] == "lost"]
    found = {int(tip["layer"]): (int(tip["answer tokens"]), int(tip["of"])) for tip in lost}
    counts = wanted.groupby("layer")[["n_lost", "n_tokens"]].sum()
    assert found == {layer: (row["n_lost"], row["n_tokens"]) for layer, row in counts.iterrows()}
    # One number of documents has an interval in the table; two places joined have none.
    assert all((" to " in tip["interval"]) == (chosen == "length") for tip in lost)


@pytest.mark.parametrize("chart", ["essential_layers", "depth_by_group"])
def test_every_chart_of_lengths_follows_what_is_chosen(fresh: Opened, chart: str) -> None:
    def tips() -> list[str]:
        marks = fresh.page.locator(f"#{chart} [class*='mark-'][role='graphics-object'] [aria-label]")
        labels = marks.evaluate_all("(marks) => marks.map((mark) => mark.ariaLabel)")
        return [label for label in labels if "answer tokens: " in label]

    before = tips()
    fresh.page.uncheck(f"[name=documents][value='{LENGTHS[0]}']")
    fresh.settle()
    assert tips()
    assert not set(tips()) & set(before)
    fresh.page.click("button[type=reset]")
    fresh.settle()
    assert tips() == before


def test_the_last_length_cannot_be_left_out(fresh: Opened) -> None:
    for length in LENGTHS:
        fresh.page.locator(f"[name=documents][value='{length}']").click()
    fresh.settle()
    assert fresh.page.locator("[name=documents]:checked").count() == 1
    assert fresh.marks("refinement_curve") > 0


def test_positions_are_typed_too_and_a_range_without_any_is_said(fresh: Opened) -> None:
    before = fresh.marks("right_by_layer")
    fresh.page.fill("#from", "0.9")
    fresh.page.press("#from", "Tab")
    fresh.settle()
    assert 0 < fresh.marks("right_by_layer") < before
    fresh.page.fill("#from", "0.6")
    fresh.page.fill("#to", "0.7")
    fresh.page.press("#to", "Tab")
    fresh.settle()
    assert "No position lies between 0.60 and 0.70" in fresh.page.inner_text("#filter-note")
    assert fresh.marks("right_by_layer") == before


def test_the_explorer_has_a_lens_of_its_own(fresh: Opened) -> None:
    cells = fresh.page.locator("#lens_grid svg")
    before = cells.inner_html()
    fresh.page.select_option("#explorer-lens", "tuned")
    fresh.settle()
    assert fresh.page.input_value("#explorer-lens") == "tuned"
    assert cells.inner_html() != before
    assert fresh.page.input_value("[name=lens]") == "logit"


def test_brushing_positions_filters_the_other_charts(fresh: Opened) -> None:
    before = {chart: fresh.marks(chart) for chart in ("accuracy_curve", "right_by_layer")}
    fresh.page.locator("#refinement_curve").scroll_into_view_if_needed()
    plot = fresh.page.locator("#refinement_curve .mark-rule.role-axis-grid").first.bounding_box()
    y = plot["y"] + plot["height"] / 2
    fresh.page.mouse.move(plot["x"] + plot["width"] * 0.4, y)
    fresh.page.mouse.down()
    fresh.page.mouse.move(plot["x"] + plot["width"] * 0.6, y, steps=5)
    fresh.page.mouse.up()
    fresh.settle()
    assert 0.3 < float(fresh.page.input_value("#from")) < 0.5 < float(fresh.page.input_value("#to")) < 0.7
    for chart, count in before.items():
        assert 0 < fresh.marks(chart) < count
    places = {
        option.split("gold index ")[1]
        for option in fresh.ask("[...pick.querySelectorAll('optgroup')].map((g) => g.label)")
    }
    assert places == {"1", "2"}  # the middle of three, and of five
    fresh.page.click("button[type=reset]")
    fresh.settle()
    assert {chart: fresh.marks(chart) for chart in before} == before


def test_shares_are_of_what_is_shown(fresh: Opened) -> None:
    def shares() -> dict[str, float]:
        """Return the sums of the shares that the points of the distributions say, by curve, event and length."""
        points = "#layers_reached .mark-symbol.role-mark [aria-label]"
        sums: dict[str, float] = {}
        for label in fresh.page.locator(points).evaluate_all("(points) => points.map((point) => point.ariaLabel)"):
            said = dict(part.split(": ", 1) for part in label.split("; "))
            event = next(name for name in said if name.startswith("layer at which"))
            key = f"{event}, {said['curve']}, {said['context']}"
            sums[key] = sums.get(key, 0.0) + float(said["share"].rstrip("%")) / 100
        return sums

    whole = shares()
    assert len(whole) == 2 * 2 * len(LENGTHS)  # events, models, lengths
    fresh.page.fill("#from", "0.9")
    fresh.page.press("#from", "Tab")
    fresh.settle()
    # The tips round to a tenth of a percent.
    assert shares() == pytest.approx(dict.fromkeys(whole, 1.0), abs=0.004)
    assert whole == pytest.approx(dict.fromkeys(whole, 1.0), abs=0.004)
