from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from services import free_port
from tracked_sweeps import Store, evaluation, parameters, start

from screenshots.browser import chromium, open_browser
from sentiment.errors import InputError
from sweeps.report import main
from sweeps.reporting.live.live_report import LiveReport
from sweeps.tracking.tracker import SweepTracker


def ask(
    port: int, path: str, method: str = "GET", host: str = "127.0.0.1"
) -> tuple[int, dict[str, str], str]:
    """Return the status, the headers and the body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, headers, answer.read().decode()
    finally:
        connection.close()


def state(port: int, since: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ask(port, f"/state?since={since}")[2])
    return found


def check_in_a_browser(port: int, tracker: SweepTracker) -> None:
    """Check that an evaluation reaches the page, and that it leaves the page's table sorted."""
    with open_browser() as browser:
        browser.open(f"http://127.0.0.1:{port}/")
        browser.wait_for_text("0.6250", "0 of 3 trials ended")
        browser.page.locator("#leaderboard th button").nth(1).click()
        tracker.trial(0).log_evaluation(1280, evaluation(0.75, 0.5))
        browser.wait_for_text("0.7500")
        assert browser.page.locator("#leaderboard th[aria-sort=ascending]").inner_text() == "trial"
        assert browser.complaints == []
        assert all(each.startswith(f"http://127.0.0.1:{port}/") for each in browser.requests)


def test_page_follows_a_running_sweep_until_control_c(store: Store) -> None:
    tracker = start(store, "first")
    start(store, "newer").end("finished")
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "sweeps.report", "--live", "--port", str(port)),
            *("--tracking-uri", store[0].tracking_uri),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line == f"http://127.0.0.1:{port}  (follows first; Control-C ends it)\n"
        status, headers, page = ask(port, "/")
        assert status == 200
        assert "<title>Sweep first (live)</title>" in page
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "//" not in page.partition("<script>")[0].replace("<!doctype", "")
        assert ask(port, "/", "HEAD")[::2] == (200, "")

        before = state(port)
        assert "waits for its first trial" in before["status"]
        tracker.start_trial(0, parameters(), "x")
        tracker.trial(0).log_evaluation(640, evaluation(0.625))
        began = time.monotonic()
        while "0.6250" not in (state(port, before["version"])["parts"] or {}).get("now", ""):
            assert time.monotonic() - began < 5
            time.sleep(0.1)

        if chromium() is not None:
            check_in_a_browser(port, tracker)
        assert [ask(port, "/", method)[0] for method in ("POST", "PUT", "DELETE")] == [405] * 3
        assert ask(port, "/state", host=f"evil.example:{port}")[0] == 403
        assert ask(port, "/state", host=f"localhost:{port}")[0] == 200
        assert ask(port, "/report.html")[0] == 404
        assert ask(port, "/nothing")[0] == 404
    finally:
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (0, "", "")
    tracker.end("finished")


def test_ended_sweep_leads_to_its_report(swept: Any) -> None:
    report = LiveReport(swept.client, swept.parent)
    shown = report.state()
    assert (shown["state"], shown["report"]) == ("ended", True)
    assert shown["status"] == "first has ended (finished)."
    page = report.final_page()
    assert page is not None
    assert b"<h1>Sweep first</h1>" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "8010"], "--port and --host are for --live: give that too"),
        (["--live", "a", "b"], "--live follows one sweep: name one, or none for the newest"),
        (["--live", "--top", "5"], "--live takes only --port, --host and the store's flags"),
        (
            ["--live", "--no-page"],
            "--live takes only --port, --host and the store's flags",
        ),
        (["--live", "no-such"], "there is no sweep 'no-such'; python -m sweeps.launch makes one"),
        (["--live"], "there is no sweep here yet: python -m sweeps.launch"),
    ],
)
def test_bad_input(store: Store, arguments: list[str], message: str) -> None:
    with pytest.raises(InputError) as error:
        main([*arguments, "--tracking-uri", store[0].tracking_uri])
    assert str(error.value) == message


def test_port_that_none_can_listen_on(store: Store) -> None:
    start(store).end("finished")
    with pytest.raises(InputError, match="--port 70000: give a number from 1 to 65535"):
        main(["--live", "--port", "70000", "--tracking-uri", store[0].tracking_uri])
