"""The browser that opens pages in tests notes what goes wrong in them."""

from __future__ import annotations

import pytest

from screenshots import browser as module
from screenshots.browser import chromium, open_browser

needs_chromium = pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
# Port 9 is refused by the browser itself, so nothing is sent.
MISSING = "http://127.0.0.1:9/x.png"


@needs_chromium
def test_errors_and_requests_of_a_page_are_noted(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        f"<p>two&nbsp;words</p><img src='{MISSING}'>"
        "<script>console.log('harmless'); console.error('wrong'); nothing()</script>"
    )
    with open_browser(300, 200) as browser:
        browser.open(page.as_uri())
        browser.wait_for_text("two words")
        assert browser.text() == "two words"
        assert browser.requests == [page.as_uri(), MISSING]
        for complaint in ("wrong", "nothing is not defined", f"{MISSING}: net::ERR_"):
            assert any(complaint in noted for noted in browser.complaints)
        assert not any("harmless" in noted for noted in browser.complaints)
        picture = tmp_path / "page.png"
        browser.screenshot(picture)
    # Width and height stand behind the eight bytes of the signature and the header's name.
    data = picture.read_bytes()
    assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (300, 200)


def test_missing_chromium_is_named(monkeypatch):
    monkeypatch.setattr(module, "chromium", lambda: None)
    with pytest.raises(RuntimeError, match="apt-get install chromium"), open_browser():
        pass
