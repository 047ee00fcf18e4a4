"""A proxy before a tracking server that does what networks and servers do to requests."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Fault = Literal["pass", "cut", "lose", "late", "hang", "500", "429", "503"]
SECRET = "hunter2"
FAULTS: tuple[Fault, ...] = ("cut", "lose", "late", "500", "429", "503")


class FaultyProxy:
    """Forwards requests to a server, but for those that meet a fault.

    `cut`: the connection is reset before the request reaches the server. `lose`: the server does
    what it is asked, and its answer is lost. `late`: it takes a tenth of a second. `hang`: there
    is never an answer. A number: that status, without the server, and a Retry-After.

    Attributes:
        choose: from method and path to a fault.
        met: how often each fault was met.
        asked: the order of what was asked: a fault each.
        points: how often each metric reached the server, by run, name, step and time.
        retry_after: the header of a fault that is a status. A fraction of a second would be no
            valid one: urllib3, by which MLflow repeats requests, takes it for an error.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self.retry_after = "0"
        self.choose: Callable[[str, str], Fault] = lambda method, path: "pass"
        self.met: Counter[Fault] = Counter()
        self.asked: list[tuple[Fault, str, str]] = []
        self.points: Counter[tuple[str, str, int, int]] = Counter()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def uri(self) -> str:
        return f"http://somebody:{SECRET}@127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                proxy._handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more: connections are refused, and those that are open meet `cut`."""
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self._server = None

    @contextmanager
    def down(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("Content-Length", 0))
        body = request.rfile.read(length)
        with self._lock:
            down = self._server is None
            fault: Fault = "cut" if down else self.choose(request.command, request.path)
            self.met[fault] += 1
            self.asked.append((fault, request.command, request.path.partition("?")[0]))
        if fault == "cut":
            _reset(request)
        elif fault == "hang":
            time.sleep(60)
            _reset(request)
        elif fault in ("500", "429", "503"):
            _answer(request, int(fault), b"trouble", {"Retry-After": self.retry_after})
        else:
            if fault == "late":
                time.sleep(0.1)
            status, headers, content = self._forward(request, body)
            if fault == "lose":
                _reset(request)
            else:
                _answer(request, status, content, headers)

    def _forward(
        self, request: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        self._count(request.path, body)
        connection = http.client.HTTPConnection("127.0.0.1", self._upstream, timeout=60)
        kept = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in ("host", "connection", "content-length", "transfer-encoding")
        }
        connection.request(request.command, request.path, body or None, kept)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        kind = answer.getheader("Content-Type", "application/json")
        return answer.status, {"Content-Type": kind}, content

    def _count(self, path: str, body: bytes) -> None:
        if not path.endswith("/runs/log-batch"):
            return
        batch = json.loads(body)
        with self._lock:
            for metric in batch.get("metrics", ()):
                at = int(metric["timestamp"])
                self.points[batch["run_id"], metric["key"], int(metric.get("step", 0)), at] += 1


def _answer(
    request: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str]
) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


def _reset(request: BaseHTTPRequestHandler) -> None:
    """Close the connection as a machine does that knows nothing of it."""
    linger = struct.pack("ii", 1, 0)
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    request.close_connection = True
    request.wfile.close = lambda: None  # type: ignore[method-assign]
    request.connection.close()
