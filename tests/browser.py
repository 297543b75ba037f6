"""Headless Chromium for tests that look at a page, and the folder that keeps their screenshots."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

OUTPUT = Path(__file__).parents[1] / "test-output"  # not in git; what CI should keep
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


@contextmanager
def open_page() -> Iterator[Page]:
    """A blank page; skips the test where there is no Chromium."""
    chromium = next(filter(None, map(shutil.which, _NAMES)), None)
    if chromium is None:
        pytest.skip("no Chromium: `sh scripts/setup.sh browser` installs it where it may")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        try:
            page = browser.new_page(viewport={"width": 1400, "height": 1400})
            page.set_default_timeout(60_000)
            yield page
        finally:
            browser.close()


def keep_screenshot(page: Page, name: str) -> None:
    """Puts what the page shows into the output folder and prints where."""
    path = OUTPUT / f"{name}.png"
    page.screenshot(path=path)
    print(f"screenshot: {path}")
