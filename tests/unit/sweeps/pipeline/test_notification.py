"""How a sweep ended reaches a command and webhooks, and a failure to send is one line."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from sentiment.errors import InputError
from sentiment.tracking.provenance import redacted
from sweeps.config import SweepSettings
from sweeps.pipeline import notification
from sweeps.pipeline.notification import check_notify, send, unfinished

RESULT = {"state": "finished", "text": "sweep films ended", "sweep": "films"}


class Webhook:
    """A server that keeps what is posted to it."""

    def __init__(self, status: int = 200) -> None:
        self.got: list[tuple[str, str, bytes]] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                webhook.got.append((self.path, self.headers.get("Content-Type", ""), body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook/s3cret"


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    made = Webhook()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_webhook_gets_json(webhook: Webhook) -> None:
    notified: list[str] = []
    send(webhook.url, RESULT, notified.append)
    ((path, kind, body),) = webhook.got
    assert (path, kind) == ("/hook/s3cret", "application/json")
    assert json.loads(body) == RESULT
    assert notified == []


@pytest.mark.parametrize(
    ("host", "sent"),
    [("hooks.slack.com", b'{"text": "sweep films ended"}'), ("ntfy.example", b"sweep films ended")],
)
def test_slack_and_ntfy_get_their_own_forms(
    host: str, sent: bytes, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = notification.requests.post

    def here(url: str, *arguments: Any, **options: Any) -> Any:
        assert url == f"https://{host}/topic"
        return real(webhook.url, *arguments, **options)

    monkeypatch.setattr(notification.requests, "post", here)
    send(f"https://{host}/topic", RESULT, pytest.fail)
    assert webhook.got[0][2] == sent


def test_a_command_reads_json(tmp_path: Path) -> None:
    script = tmp_path / "keep.py"
    script.write_text("import sys; open(sys.argv[1], 'w').write(sys.stdin.read()); print('out')")
    target = f"{sys.executable} '{script}' '{tmp_path}/got it.json'"
    check_notify(target)
    send(target, RESULT, pytest.fail)
    assert json.loads((tmp_path / "got it.json").read_text()) == RESULT


def test_what_can_not_be_sent_is_one_line_without_secrets(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    notified: list[str] = []
    refusing = Webhook(status=403)
    send(refusing.url, RESULT, notified.append)
    refusing.server.shutdown()
    refusing.server.server_close()
    send(refusing.url, RESULT, notified.append)
    send(f"{sys.executable} -c 'raise SystemExit(3)'", RESULT, notified.append)
    monkeypatch.setattr(notification, "TIMEOUT", 0.2)
    send(f"{sys.executable} -c 'import time; time.sleep(9)'", RESULT, notified.append)
    assert [line.rpartition("(")[2] for line in notified] == [
        "it answers 403)",
        "ConnectionError)",
        "exit status 3)",
        "it took more than 0 seconds)",
    ]
    assert all(line.startswith("warning: --notify ") for line in notified)
    assert "s3cret" not in "".join(notified)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no-such-command --now", "there is no such command"),
        ("mail 'unclosed", "can't be read as a command"),
        ("", "there is no such command"),
        ("https:///path", "the URL names no host"),
    ],
)
def test_wrong_targets_are_refused_first(target: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_notify(target)


def test_the_address_is_written_nowhere() -> None:
    url = "https://hooks.slack.com/services/T0/B0/s3cret"
    assert "s3cret" not in SweepSettings(trials=1, notify=url).to_json()
    for typed in (f"--notify {url}", f"--notify={url}", f"--notify '{url}'"):
        command = redacted(f"python -m sweeps.launch {typed} --trials 3")
        assert "s3cret" not in command
        assert "https://hooks.slack.com/***" in command
        assert command.endswith("--trials 3")


def test_what_is_sent_of_a_sweep_without_an_end() -> None:
    sent = unfinished("films", "abc", KeyboardInterrupt(), "python -m sweeps.launch --resume films")
    assert (sent["state"], sent["text"]) == ("interrupted", "sweep films was interrupted")
    assert sent["resume"] == "python -m sweeps.launch --resume films"
    failed = unfinished("films", "abc", ValueError("no room\nat all"), "resume it")
    assert (failed["state"], failed["text"]) == ("failed", "sweep films failed: no room")
