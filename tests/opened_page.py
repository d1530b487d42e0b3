"""A report's page, opened in a real browser."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

# Where a browser must be there (NEEDS_BROWSER, as in .ci/run), its absence is an error and no skip.
needs_browser = pytest.mark.skipif(
    BROWSER is None and "NEEDS_BROWSER" not in os.environ,
    reason="no Chromium on this machine (Debian: apt-get install chromium)",
)


@dataclass
class Opened:
    """A page in the browser, and what happened in it."""

    page: Any
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    first_drawn: bool = False

    def note(self, said: str) -> None:
        # A panel whose data have been filtered out has no extent: Vega warns of it, and means it.
        if not (self.first_drawn and "Infinite extent" in said):
            self.faults.append(said)

    def marks(self, chart: str) -> int:
        """Count what a chart drew of its data, axes and legends left out."""
        return int(self.page.locator(f"#{chart} [class*='mark-'][role='graphics-object'] > *").count())

    def settle(self) -> None:
        """Wait until the page has drawn what was last chosen."""
        # What a mouse or a legend does reaches the page through Vega, which runs after the event.
        self.page.wait_for_timeout(100)
        self.page.wait_for_function("!behind && !following")
        self.page.evaluate("() => Promise.all(queues.values())")

    def ask(self, script: str) -> Any:
        return self.page.evaluate(script)


def opened(browser: Any, file: Path, **context: Any) -> Opened:
    page = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **context}).new_page()
    seen = Opened(page)
    page.on("console", lambda said: seen.note(f"{said.type}: {said.text}"))
    page.on("pageerror", lambda error: seen.faults.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector("body[data-drawn=yes]", timeout=60_000)
    seen.first_drawn = True
    return seen
