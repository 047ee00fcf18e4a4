"""Headless Chromium of the system, driven by Playwright, which never downloads a browser here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Locator, Page, Request, expect, sync_playwright

# Playwright's own flags switch off first-run pages, updates, sync and background requests.
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic")
TIMEOUT = 90_000.0  # milliseconds; a loaded machine is slow to draw
# An address that differs from the page's behind `#` alone would not load again.
_BLANK = "about:blank"
_ABORTED = "net::ERR_ABORTED"


def chromium() -> str | None:
    """Return the path of the installed Chromium; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One page of a headless browser, with what it complained about and asked for.

    Attributes:
        page: Playwright's page.
        complaints: console errors, uncaught exceptions and failed requests; requests that the page
            itself aborted are left out.
        requests: addresses that were requested, in order.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", self._on_failure)
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, address: str) -> None:
        """Load an address, also where it differs from the current one behind `#` alone."""
        self.page.goto(_BLANK)
        self.page.goto(address)

    def text(self) -> str:
        """Return the visible text of the page, non-breaking spaces as plain ones."""
        return self.page.locator("body").inner_text().replace("\u00a0", " ")

    def wait_for_text(self, *texts: str) -> None:
        """Wait until the page shows all of these.

        Raises:
            AssertionError: one did not appear in time; the message has the page's text.
        """
        body = expect(self.page.locator("body"))
        for text in texts:
            body.to_contain_text(text, use_inner_text=True, timeout=TIMEOUT)

    def drag(self, handle: Locator, pixels: int) -> None:
        """Drag an element to the right."""
        handle.hover()
        box = handle.bounding_box()
        assert box is not None  # hover() waits until it is visible
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.down()
        self.page.mouse.move(x + pixels, y, steps=4)
        self.page.mouse.up()

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page in pixels."""
        self.page.set_viewport_size({"width": width, "height": height})

    def screenshot(self, file: Path) -> None:
        """Write the visible part of the page as a PNG, one image pixel per page pixel."""
        self.page.screenshot(path=file)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} {message.location.get('url', '')}".strip())

    def _on_failure(self, request: Request) -> None:
        if request.failure != _ABORTED:
            self.complaints.append(f"{request.url}: {request.failure}")


@contextmanager
def open_browser(width: int = 1600, height: int = 1000) -> Iterator[Browser]:
    """Start a browser with a fresh profile, and end it with the context.

    Args:
        width: of the page, in pixels.
        height: of the page, in pixels.

    Raises:
        RuntimeError: Chromium is not installed.
    """
    command = chromium()
    if command is None:
        # Without a path Playwright looks for a browser that it downloaded.
        raise RuntimeError("Chromium is not installed: apt-get install chromium")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=command, args=FLAGS, timeout=TIMEOUT) as browser,
        browser.new_context(viewport={"width": width, "height": height}) as context,
    ):
        context.set_default_timeout(TIMEOUT)
        yield Browser(context.new_page())
