"""The page in a real browser: it draws, filters, sorts and moves, loads nothing, and runs nothing of the data's."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lenscore.report.contents import CHARTS
from tests.made_study import EVIL_TOKEN, LENGTHS, MadeStudy, write_page

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = [
    pytest.mark.slow,
    # Where a browser must be there (NEEDS_BROWSER, as in .ci/run), its absence is an error and no skip.
    pytest.mark.skipif(
        BROWSER is None and "NEEDS_BROWSER" not in os.environ,
        reason="no Chromium on this machine (Debian: apt-get install chromium)",
    ),
]


@dataclass
class Opened:
    """A page in the browser, and what happened in it."""

    page: Any
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def marks(self, chart: str) -> int:
        """Count what a chart drew of its data, axes and legends left out."""
        return int(self.page.locator(f"#{chart} [class*='mark-'][role='graphics-object'] > *").count())

    def ask(self, script: str) -> Any:
        return self.page.evaluate(script)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = MadeStudy(tmp_path_factory.mktemp("browser"))
    study.load()
    return write_page(study, study.folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # A container's user may have no sandbox to give.
        running = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield running
        running.close()


def opened(browser: Any, file: Path, **context: Any) -> Opened:
    page = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **context}).new_page()
    seen = Opened(page)
    # A panel whose data are all filtered out has no extent: Vega warns of it, and means it.
    page.on("console", lambda said: "Infinite extent" in said.text or seen.faults.append(f"{said.type}: {said.text}"))
    page.on("pageerror", lambda error: seen.faults.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector("body[data-drawn=yes]", timeout=60_000)
    return seen


@pytest.fixture(scope="module")
def shown(browser: Any, file: Path) -> Opened:
    """The page as first opened; tests that change it must put it back."""
    return opened(browser, file)


@pytest.fixture
def fresh(browser: Any, file: Path) -> Iterator[Opened]:
    seen = opened(browser, file)
    yield seen
    seen.page.context.close()
    assert seen.faults == []
    assert seen.requests == [file.as_uri()]


def test_it_loads_from_disk_without_a_fault_or_a_request(shown: Opened, file: Path) -> None:
    assert shown.faults == []
    assert shown.requests == [file.as_uri()]


@pytest.mark.parametrize("chart", CHARTS)
def test_every_chart_drew_its_marks(shown: Opened, chart: str) -> None:
    svg = shown.page.locator(f"#{chart} svg")
    assert svg.count() == 1
    box = svg.bounding_box()
    assert box["width"] > 150
    assert box["height"] > 80
    assert shown.marks(chart) > 10
    assert "NaN" not in svg.inner_html()


def test_text_of_the_data_is_shown_and_not_run(shown: Opened) -> None:
    assert shown.page.title() == "Where in its depth: small"
    assert "<script>document.title" in shown.page.locator("#explorer-question").inner_text()
    assert shown.page.locator("img").count() == 0
    cells = " ".join(shown.page.locator("#lens_grid text").all_text_contents())
    assert EVIL_TOKEN[:8].replace(" ", "·") in cells


def test_a_tooltip_shows_text_and_runs_none(fresh: Opened) -> None:
    fresh.page.locator("#lens_grid text", has_text="<img").first.hover(force=True)
    tip = fresh.page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    assert "onerror" in tip.inner_text()
    assert tip.locator("img").count() == 0
    assert fresh.page.title() == "Where in its depth: small"


def test_hovering_gives_mean_interval_and_number(fresh: Opened) -> None:
    fresh.page.locator("#refinement_curve .mark-symbol path").first.hover(force=True)
    tip = fresh.page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    for words in ("refinement depth", "interval from", "to", "questions"):
        assert words in tip.inner_text()


def test_a_length_left_out_is_left_out_of_all_charts(fresh: Opened) -> None:
    charts = ("refinement_curve", "accuracy_curve", "layers_reached", "right_by_layer", "controls", "populations")
    before = {chart: fresh.marks(chart) for chart in charts}
    fresh.page.uncheck(f"[name=documents][value='{LENGTHS[1]}']")
    fresh.page.wait_for_timeout(600)
    after = {chart: fresh.marks(chart) for chart in charts}
    assert all(after[chart] < before[chart] for chart in charts), (before, after)
    assert all(after.values())
    rows = fresh.page.locator("#shapes ~ .wide tbody tr:visible")
    assert {f"{LENGTHS[0]} documents" in text for text in rows.all_inner_texts()} == {True}
    fresh.page.click("button[type=reset]")
    fresh.page.wait_for_timeout(600)
    assert {chart: fresh.marks(chart) for chart in charts} == before


def test_the_lens_is_chosen_for_all_charts(fresh: Opened) -> None:
    def names(chart: str) -> str:
        return " ".join(fresh.page.locator(f"#{chart} text").all_text_contents())

    assert "tiny, logit" in names("refinement_curve")
    assert "tiny, tuned" not in names("refinement_curve")
    height = fresh.page.locator("#flips svg").bounding_box()["height"]
    fresh.page.select_option("[name=lens]", "tuned")
    fresh.page.wait_for_timeout(600)
    for chart in ("refinement_curve", "flips", "right_by_layer", "essential_layers"):
        assert "tiny, tuned" in names(chart)
        assert "tiny, logit" not in names(chart)
    assert fresh.page.locator("#flips svg").bounding_box()["height"] == pytest.approx(height, abs=2)
    assert fresh.ask("document.getElementById('explorer-lens').value") == "tuned"


def test_a_model_is_chosen_for_all_charts_tables_and_sentences(fresh: Opened) -> None:
    fresh.page.select_option("[name=model]", "twin")
    fresh.page.wait_for_timeout(600)
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
    fresh.page.wait_for_timeout(600)
    assert fresh.page.locator("[name=documents]:checked").evaluate_all("(boxes) => boxes.map((box) => box.value)") == [
        str(LENGTHS[1])
    ]
    assert 0 < fresh.marks("right_by_layer") < before


def test_the_last_length_cannot_be_left_out(fresh: Opened) -> None:
    for length in LENGTHS:
        fresh.page.locator(f"[name=documents][value='{length}']").click()
    fresh.page.wait_for_timeout(400)
    assert fresh.page.locator("[name=documents]:checked").count() == 1
    assert fresh.marks("refinement_curve") > 0


def test_positions_are_typed_too_and_a_range_without_any_is_said(fresh: Opened) -> None:
    before = fresh.marks("right_by_layer")
    fresh.page.fill("#from", "0.9")
    fresh.page.press("#from", "Tab")
    fresh.page.wait_for_timeout(600)
    assert 0 < fresh.marks("right_by_layer") < before
    fresh.page.fill("#from", "0.6")
    fresh.page.fill("#to", "0.7")
    fresh.page.press("#to", "Tab")
    fresh.page.wait_for_timeout(600)
    assert "No document stands between 0.60 and 0.70" in fresh.page.inner_text("#filter-note")
    assert fresh.marks("right_by_layer") == before


def test_the_explorer_has_a_lens_of_its_own(fresh: Opened) -> None:
    cells = fresh.page.locator("#lens_grid svg")
    before = cells.inner_html()
    fresh.page.select_option("#explorer-lens", "tuned")
    fresh.page.wait_for_timeout(400)
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
    fresh.page.wait_for_timeout(800)
    assert 0.3 < float(fresh.page.input_value("#from")) < 0.5 < float(fresh.page.input_value("#to")) < 0.7
    for chart, count in before.items():
        assert 0 < fresh.marks(chart) < count
    places = {
        option.split("gold index ")[1]
        for option in fresh.ask("[...pick.querySelectorAll('optgroup')].map((g) => g.label)")
    }
    assert places == {"1", "2"}  # the middle of three, and of five
    fresh.page.click("button[type=reset]")
    fresh.page.wait_for_timeout(800)
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
    fresh.page.wait_for_timeout(600)
    # The tips round to a tenth of a percent.
    assert shares() == pytest.approx(dict.fromkeys(whole, 1.0), abs=0.004)
    assert whole == pytest.approx(dict.fromkeys(whole, 1.0), abs=0.004)


def test_the_table_sorts_both_ways(fresh: Opened) -> None:
    def column() -> list[float]:
        cells = fresh.page.locator("table.sortable tbody tr:visible td:nth-child(4)").all()
        return [float(cell.get_attribute("data-value")) for cell in cells]

    button = fresh.page.locator("table.sortable th:nth-child(4) button")
    button.focus()
    fresh.page.keyboard.press("Enter")
    assert column() == sorted(column(), reverse=True)
    assert len(set(column())) > 1
    button.click()
    assert column() == sorted(column())
    assert fresh.page.locator("table.sortable th[aria-sort]").count() == 1


def test_the_explorer_moves_by_keyboard_and_draws_each_context(fresh: Opened) -> None:
    def seen() -> tuple[str, str]:
        fresh.page.wait_for_timeout(400)
        return fresh.page.inner_text("#explorer-id"), fresh.page.locator("#lens_grid svg").inner_html()

    first = seen()
    fresh.page.focus("#next")
    fresh.page.keyboard.press("ArrowRight")
    second = seen()
    assert second[0] != first[0]
    assert second[1] != first[1]
    fresh.page.keyboard.press("ArrowLeft")
    assert seen()[0] == first[0]
    n_contexts = fresh.ask("EXPLORER.contexts.length")
    assert fresh.ask("pick.options.length") == n_contexts > sum(LENGTHS)
    fresh.page.select_option("#explorer-colour", "entropy")
    assert "entropy (nats)" in seen()[1]


def test_the_cells_are_the_tables(shown: Opened, file: Path) -> None:
    import pandas as pd

    table = pd.read_parquet(file.parent.parent / "tables/examples.parquet")
    name = shown.page.inner_text("#explorer-id")
    rows = table[(table["model"] == "tiny") & (table["context_id"] == name) & (table["lens"] == "logit")]
    words = shown.page.locator("#lens_grid .mark-text.role-mark text").all_text_contents()
    assert len(words) == len(rows)
    assert {re.sub("…$", "", word)[:5] for word in words} == {text.replace(" ", "·")[:5] for text in rows["top1_text"]}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Any, file: Path, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    seen = opened(browser, file, color_scheme=scheme)
    violations = Axe().run(seen.page).response["violations"]
    serious = [fault for fault in violations if fault["impact"] in ("serious", "critical")]
    assert [(fault["id"], fault["nodes"][0]["html"][:200]) for fault in serious] == []
    seen.page.context.close()


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_scrolls_sideways(browser: Any, file: Path, width: int) -> None:
    seen = opened(browser, file, viewport={"width": width, "height": 900})
    assert seen.ask("document.documentElement.scrollWidth") <= width
    assert seen.page.locator("#refinement_curve svg").bounding_box()["width"] <= width
    seen.page.context.close()


def test_on_a_dark_ground_charts_are_light_on_dark(browser: Any, file: Path) -> None:
    seen = opened(browser, file, color_scheme="dark")
    fill = seen.page.locator("#refinement_curve .role-axis-title text").first.get_attribute("fill")
    assert fill == "#e8eaed"
    assert seen.faults == []
    for chart in CHARTS:
        assert seen.marks(chart) > 10
    # A reader may change the ground while the page is open.
    seen.page.emulate_media(color_scheme="light")
    seen.page.wait_for_function(
        "document.querySelector('#lens_divergence .role-axis-title text').getAttribute('fill') === '#333333'"
    )
    assert seen.faults == []
    seen.page.context.close()
