"""What stands where a tracking server should be: other servers, and proxies on the way."""

from __future__ import annotations

import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sentiment.errors import InputError
from sentiment.tracking import http
from sentiment.tracking.store import open_store, read_store

MLFLOW = (200, b"{}")


@contextmanager
def serving(status: int, body: bytes, to: str = "") -> Iterator[str]:
    """Answer every request in one way, or redirect it to a page that does; give the address."""

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            redirects = to and self.path != to
            self.send_response(302 if redirects else status)
            if redirects:
                self.send_header("Location", to)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _any  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://me:hunter2@127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("use", [open_store, read_store])
@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"hello", r"not MLflow's \('hello'\): give the address of an MLflow tracking server"),
        (200, b"<html>hello</html>", r"not MLflow's \(a page in HTML\)"),
        (200, b'{"experiments": [{"exper', "not MLflow's"),
        (200, b'{"hello": "world"}', "not MLflow's"),
        (401, b"", "answers 401 .*MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        (403, b"<html>Forbidden</html>", "answers 403 .*MLFLOW_TRACKING_TOKEN"),
        (403, b'{"error": "no"}', "answers 403 .*MLFLOW_TRACKING_TOKEN"),
        (404, b"not found", "answers 404"),
    ],
)
def test_a_server_that_is_not_mlflow(
    use: Callable[[str], object], status: int, body: bytes, words: str
) -> None:
    with serving(status, body) as address, pytest.raises(InputError, match=words) as refused:
        use(address)
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_redirect_to_a_login() -> None:
    words = r"it redirects to http://\S+/login"
    page = serving(200, b"<html>log in</html>", to="/login")
    with page as address, pytest.raises(InputError, match=words) as refused:
        read_store(address)
    assert "hunter2" not in str(refused.value)


def test_a_server_of_another_protocol() -> None:
    def greet(listener: socket.socket) -> None:
        with suppress(OSError):  # the test closes the listener while this waits for another
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=greet, args=(listener,), daemon=True).start()
        with pytest.raises(InputError, match="does not speak HTTP"):
            read_store(f"http://127.0.0.1:{listener.getsockname()[1]}")


def test_a_proxy_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(*MLFLOW) as address:
        monkeypatch.setenv("http_proxy", f"http://me:hunter3@127.0.0.1:{closed_port()}")
        with pytest.raises(
            InputError, match=r"through the proxy .* add 127\.0\.0\.1 to no_proxy"
        ) as told:
            read_store(address)
        assert "hunter" not in str(told.value)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        read_store(address)


def test_a_proxy_that_answers_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(403, b"<html>blocked</html>") as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        with pytest.raises(InputError, match=r"403 .*asked through the proxy .*no_proxy") as told:
            read_store("http://192.0.2.1:5000")
    assert "hunter2" not in str(told.value)


def test_the_probe_leaves_certificates_to_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise urllib.error.URLError(ssl.SSLCertVerificationError("self-signed"))

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", refuse)
    http.check_reachable("https://tracking.example")
