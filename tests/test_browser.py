"""The page in a real browser: it draws, sorts and moves, loads nothing, and runs nothing of the data's."""

import re
from pathlib import Path
from typing import Any

import pytest

from lenscore.report.contents import CHARTS
from tests.made_study import EVIL_TOKEN, LENGTHS
from tests.opened_page import Opened, needs_browser, opened

pytestmark = [pytest.mark.slow, needs_browser]


@pytest.fixture(scope="module")
def shown(browser: Any, page_file: Path) -> Opened:
    """The page as first opened; tests that change it must put it back."""
    return opened(browser, page_file)


def test_it_loads_from_disk_without_a_fault_or_a_request(shown: Opened, page_file: Path) -> None:
    assert shown.faults == []
    assert shown.requests == [page_file.as_uri()]


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
        fresh.settle()
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


def test_the_cells_are_the_tables(shown: Opened, page_file: Path) -> None:
    import pandas as pd

    table = pd.read_parquet(page_file.parent.parent / "tables/examples.parquet")
    name = shown.page.inner_text("#explorer-id")
    rows = table[(table["model"] == "tiny") & (table["context_id"] == name) & (table["lens"] == "logit")]
    words = shown.page.locator("#lens_grid .mark-text.role-mark text").all_text_contents()
    assert len(words) == len(rows)
    assert {re.sub("…$", "", word)[:5] for word in words} == {text.replace(" ", "·")[:5] for text in rows["top1_text"]}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Any, page_file: Path, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    seen = opened(browser, page_file, color_scheme=scheme)
    violations = Axe().run(seen.page).response["violations"]
    serious = [fault for fault in violations if fault["impact"] in ("serious", "critical")]
    assert [(fault["id"], fault["nodes"][0]["html"][:200]) for fault in serious] == []
    seen.page.context.close()


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_scrolls_sideways(browser: Any, page_file: Path, width: int) -> None:
    seen = opened(browser, page_file, viewport={"width": width, "height": 900})
    assert seen.ask("document.documentElement.scrollWidth") <= width
    assert seen.page.locator("#refinement_curve svg").bounding_box()["width"] <= width
    seen.page.context.close()


def test_on_a_dark_ground_charts_are_light_on_dark(browser: Any, page_file: Path) -> None:
    seen = opened(browser, page_file, color_scheme="dark")
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
