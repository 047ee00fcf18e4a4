from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from sentiment.errors import InputError
from sentiment.io import download
from sentiment.io.download import fetch

DATA = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
MD5 = f"md5:{hashlib.md5(DATA).hexdigest()}"


class Server(ThreadingHTTPServer):
    """Serves `data` at /file.bin with ranges; breaks off after each size in `breaks`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data = DATA
        self.breaks: list[int] = []
        self.failures: list[int] = []
        self.seconds = 0.0
        self.requests: list[tuple[str | None, int]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/data/file.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        data, wanted = self.server.data, self.headers.get("Range")
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        start = 0
        if wanted and self.headers.get("If-Range", tag) == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        status = 206 if start else 200
        if self.path != "/data/file.bin":
            status = 404
        elif self.server.failures:
            status = self.server.failures.pop(0)
        elif start >= len(data):
            status = 416
        self.server.requests.append((wanted, status))
        self.send_response(status)
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(data)}")
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        body = data[start:] if status in (200, 206) else b""
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        time.sleep(self.server.seconds)
        self.wfile.write(body[: self.server.breaks.pop(0)] if body and self.server.breaks else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "_PAUSE_SECONDS", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("checksum", [SHA256, f"sha256:{SHA256}", MD5])
def test_a_file_is_fetched_once(server: Server, tmp_path: Path, checksum: str) -> None:
    folder = tmp_path / "new" / "folder"
    path = fetch(server.url, checksum, folder, False)
    assert path == folder / "file.bin"
    assert path.read_bytes() == DATA
    assert fetch(server.url, checksum, folder, False) == path
    assert server.requests == [(None, 200)]
    assert _names(folder) == ["file.bin"]


def test_a_damaged_copy_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(DATA[:-1])
    assert fetch(server.url, SHA256, tmp_path, False).read_bytes() == DATA


def test_the_bar_shows_the_size(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(server.url, SHA256, tmp_path, True)
    assert "300k/300k" in capsys.readouterr().err
    (tmp_path / "file.bin").unlink()
    fetch(server.url, SHA256, tmp_path, False)
    assert capsys.readouterr() == ("", "")


def test_a_transfer_that_breaks_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.breaks = [100_000, 50_000, 0, 1]
    server.failures = [503]
    assert fetch(server.url, None, tmp_path, False).read_bytes() == DATA
    starts = [wanted for wanted, _ in server.requests]
    assert starts == [None, None, *(f"bytes={start}-" for start in (98304, 147456, 147456, 147456))]


def test_a_later_call_takes_up_what_an_earlier_one_left(server: Server, tmp_path: Path) -> None:
    server.breaks = [100_000, 0, 0, 0, 0]
    with pytest.raises(InputError, match="broke off, tried 4 times"):
        fetch(server.url, SHA256, tmp_path, False)
    assert _names(tmp_path) == ["file.bin.part"]
    server.breaks.clear()
    assert fetch(server.url, SHA256, tmp_path, False).read_bytes() == DATA
    assert server.requests[-1] == ("bytes=98304-", 206)
    assert _names(tmp_path) == ["file.bin"]


def test_a_part_that_is_whole_already(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(DATA)
    assert fetch(server.url, SHA256, tmp_path, False).read_bytes() == DATA
    assert server.requests == [("bytes=300000-", 416)]


@pytest.mark.parametrize("part", [b"another file", DATA + b"more"])
def test_a_part_of_another_file_is_given_up(server: Server, tmp_path: Path, part: bytes) -> None:
    (tmp_path / "file.bin.part").write_bytes(part)
    assert fetch(server.url, SHA256, tmp_path, False).read_bytes() == DATA
    (tmp_path / "file.bin.part").write_bytes(part)
    (tmp_path / "file.bin").unlink()
    assert fetch(server.url, None, tmp_path, False).read_bytes() == DATA


def test_a_file_that_changes_meanwhile_is_not_mixed(server: Server, tmp_path: Path) -> None:
    server.breaks = [100_000]
    server.seconds = 0.2
    timer = threading.Timer(0.1, lambda: setattr(server, "data", DATA[::-1]))
    timer.start()
    assert fetch(server.url, None, tmp_path, False).read_bytes() == DATA[::-1]
    assert [status for _, status in server.requests] == [200, 200]


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its checksum is not sha256:0000"):
        fetch(server.url, f"sha256:{'0' * 64}", tmp_path / "new", False)
    assert len(server.requests) == 2
    assert not (tmp_path / "new").exists()


def test_an_unknown_checksum_is_recorded_and_checked_from_then_on(
    server: Server, tmp_path: Path
) -> None:
    path = fetch(server.url, None, tmp_path, False)
    assert _names(tmp_path) == ["file.bin", "file.bin.sha256"]
    assert (tmp_path / "file.bin.sha256").read_text() == f"{SHA256}\n"
    fetch(server.url, None, tmp_path, False)
    assert len(server.requests) == 1
    path.write_bytes(b"torn")
    assert fetch(server.url, None, tmp_path, False).read_bytes() == DATA
    assert len(server.requests) == 2


@pytest.mark.parametrize(("status", "requests"), [(403, 1), (404, 1), (500, 4), (503, 4)])
def test_a_host_that_refuses(server: Server, tmp_path: Path, status: int, requests: int) -> None:
    server.failures = [status] * 10
    with pytest.raises(InputError, match=rf"can't download {server.url} .*status {status}"):
        fetch(server.url, SHA256, tmp_path / "new", False)
    assert len(server.requests) == requests
    assert not (tmp_path / "new").exists()


def test_no_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_PAUSE_SECONDS", 0.001)
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.bin"
    for address in (url, "https://nowhere.invalid/file.bin"):
        with pytest.raises(InputError, match="no connection, tried 4 times"):
            fetch(address, SHA256, tmp_path / "new", False)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "nonsense", "http://127.0.0.1/"])
def test_an_address_of_no_file(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not the address of a file"):
        fetch(url, None, tmp_path, False)


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be written"):
        fetch(server.url, SHA256, tmp_path / "file" / "folder", False)


def test_two_that_want_the_same_file_fetch_it_once(server: Server, tmp_path: Path) -> None:
    server.seconds = 0.3
    paths: list[Path] = []
    threads = [
        threading.Thread(target=lambda: paths.append(fetch(server.url, SHA256, tmp_path, False)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [tmp_path / "file.bin"] * 3
    assert len(server.requests) == 1
    assert _names(tmp_path) == ["file.bin"]
