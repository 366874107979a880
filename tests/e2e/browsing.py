"""A real browser for the tests of the page, and what they ask of everything in it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request

    from tests.e2e.running import Running

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
]
CONTRAST = """() => {
  const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const colour = (text) => text.match(/[\\d.]+/g).map(Number);
  const background = (element) => {
    for (; element; element = element.parentElement) {
      const found = colour(getComputedStyle(element).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const failing = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility()) continue;
    const [one, other] = [luminance(colour(getComputedStyle(element).color)), luminance(background(element))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) failing.push([element.className || element.tagName, ratio]);
  }
  return failing;
}"""
UNNAMED = """() => [...document.querySelectorAll("button, textarea, a[href]")]
  .filter((element) => element.checkVisibility())
  .filter((element) => !(element.getAttribute("aria-label") || element.textContent.trim() || element.labels?.length))
  .map((element) => element.outerHTML)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium: the system's, else the one that playwright brings."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=next(filter(None, found), None), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, twin: Running) -> Iterator[Callable[..., Page]]:
    """Open the page as a new shopper; afterwards nothing may have failed in it or been fetched from elsewhere."""
    contexts: list[BrowserContext] = []
    troubles: list[str] = []

    def note_error(message: ConsoleMessage) -> None:
        if message.type == "error":
            troubles.append(message.text)

    def note_foreign(request: Request) -> None:
        if not request.url.startswith((twin.page, "data:")):
            troubles.append(request.url)

    def open_page(path: str = "", **options: Any) -> Page:
        context = browser.new_context(**{"locale": "ja-JP", **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", note_error)
        page.on("request", note_foreign)
        page.goto(f"{twin.page}/{path}")
        if not path:
            expect(page.locator("#connection")).to_have_attribute("data-state", "open")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []
