"""Chromium without a screen, driven over a pipe by its DevTools protocol.

A pipe needs no port and no library for websockets.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)
_END = b"\0"
# It reads from descriptor 3 and writes to 4.
_ON_PIPES = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)
_TEXT = "(document.body?.innerText ?? '').replaceAll('\\u00a0', ' ')"
_WAIT = 90.0  # seconds; a loaded machine is slow to draw
_POLL = 0.1


class BrowserError(RuntimeError):
    """The browser did not do what it was told, or what was waited for did not come."""


def chromium() -> str | None:
    """Return the path of Chromium; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One page of a browser of its own; as a context it ends the browser.

    Attributes:
        complaints: errors of the pages' consoles and scripts, and requests that failed.
        requests: addresses that the pages asked for.
    """

    def __init__(self, profile: Path, width: int = 1600, height: int = 1000) -> None:
        """Start the browser.

        Args:
            profile: folder for its own files.
            width: of the page, in pixels.
            height: the same.

        Raises:
            BrowserError: there is no Chromium, or it does not answer.
        """
        command = chromium()
        if command is None:
            raise BrowserError("Chromium is not installed: apt-get install chromium")
        self.complaints: list[str] = []
        self.requests: list[str] = []
        from_us, self._to_browser = os.pipe()
        self._from_browser, to_us = os.pipe()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", _ON_PIPES, str(from_us), str(to_us)),
                *(command, *FLAGS, f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=(from_us, to_us),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(from_us)
        os.close(to_us)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page in pixels."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def offline(self) -> None:
        """Cut the page off from the network."""
        self._call(
            "Network.emulateNetworkConditions",
            offline=True,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    def open(self, address: str) -> None:
        """Go to an address; a change of what stands behind `#` alone opens the page anew too."""
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=address)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page.

        Raises:
            BrowserError: it throws.
        """
        answer = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def text(self) -> str:
        """Return the page's text as it is seen, its blanks all of one kind."""
        return str(self.evaluate(_TEXT))

    def wait_for(self, expression: str, seconds: float = _WAIT) -> Any:
        """Wait until a JavaScript expression is true, and return its value.

        Raises:
            BrowserError: it did not come true in time; the message has the page's text.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = self.evaluate(expression)
            if value:
                return value
            time.sleep(_POLL)
        raise BrowserError(f"not true within {seconds:g} s: {expression}\n{self.text()[:3000]}")

    def wait_for_text(self, *texts: str, seconds: float = _WAIT) -> None:
        """Wait until the page shows all of these."""
        for text in texts:
            self.wait_for(f"{_TEXT}.includes({json.dumps(text)})", seconds)

    def click(self, expression: str) -> None:
        """Click in the middle of the element that a JavaScript expression gives, once it is there.

        Raises:
            BrowserError: there is no such element in time.
        """
        x, y = self._middle(expression)
        self._mouse("mouseMoved", x, y)
        self._mouse("mousePressed", x, y, held=True)
        self._mouse("mouseReleased", x, y)

    def drag(self, expression: str, pixels: int) -> None:
        """Drag the element that a JavaScript expression gives to the right."""
        x, y = self._middle(expression)
        self._mouse("mouseMoved", x, y)
        self._mouse("mousePressed", x, y, held=True)
        for part in (0.25, 0.5, 0.75, 1.0):
            self._mouse("mouseMoved", x + part * pixels, y, held=True)
        self._mouse("mouseReleased", x + pixels, y)

    def leave(self) -> None:
        """Move the mouse out of the way, so that no hint hangs over the page."""
        self._mouse("mouseMoved", 0, 0)

    def insert(self, text: str) -> None:
        """Put a text where the cursor is."""
        self._call("Input.insertText", text=text)

    def press_escape(self) -> None:
        """Press Escape, which closes menus."""
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key="Escape", windowsVirtualKeyCode=27)

    def screenshot(self, file: Path) -> None:
        """Write what is seen as a PNG."""
        answer = self._call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(answer["data"]))

    def close(self) -> None:
        """End the browser."""
        for descriptor in (self._to_browser, self._from_browser):
            os.close(descriptor)
        # It ends by itself when the pipe is closed.
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _middle(self, expression: str) -> tuple[float, float]:
        """Return the middle of an element, once it is there and seen."""
        place = self.wait_for(
            f"(() => {{ const e = {expression}; if (!e) return null;"
            " e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            " return r.width ? [r.x + r.width / 2, r.y + r.height / 2] : null; })()"
        )
        return place[0], place[1]

    def _mouse(self, kind: str, x: float, y: float, held: bool = False) -> None:
        button = "left" if held or kind != "mouseMoved" else "none"
        where = {"x": x, "y": y, "button": button, "buttons": int(held), "clickCount": 1}
        self._call("Input.dispatchMouseEvent", type=kind, **where)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + _END
        while data:
            data = data[os.write(self._to_browser, data) :]
        return self._read(lambda answer: answer.get("id") == number)

    def _read(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read messages up to the wanted answer; events on the way are noted."""
        deadline = time.monotonic() + _WAIT
        while True:
            while _END in self._buffer:
                line, self._buffer = self._buffer.split(_END, 1)
                message = json.loads(line)
                if wanted(message):
                    if "error" in message:
                        raise BrowserError(str(message["error"]))
                    return dict(message["result"])
                self._note(message)
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._from_browser], [], [], left)[0]:
                raise BrowserError("Chromium does not answer")
            data = os.read(self._from_browser, 1 << 16)
            if not data:
                raise BrowserError(f"Chromium ended with status {self._process.wait(10)}")
            self._buffer += data

    def _note(self, message: dict[str, Any]) -> None:
        method, event = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(event["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] == "error":
            self.complaints.append(str(event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
            self.complaints.append(f"{event['entry']['text']} {event['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
