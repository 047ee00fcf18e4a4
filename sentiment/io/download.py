"""Files from the web: checked, resumed after a break, whole or absent."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pooch
import requests
from filelock import FileLock
from tqdm import tqdm

from sentiment.errors import InputError
from sentiment.wording import duration

_ATTEMPTS = 4  # in a row without a byte of progress
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 30.0
_PAUSE_SECONDS = 0.5  # after the first failure, doubled after each further one
_CHUNK = 1 << 14  # what a break can cost: requests drops a chunk that is not whole


def fetch(url: str, checksum: str | None, folder: Path, progress: bool) -> Path:
    """Return the file at an address, downloaded into a folder unless it is there and intact.

    A transfer that breaks is resumed where it stopped, in this call and, where the checksum
    is known, in a later one; what came so far lies beside the file as `NAME.part`. Processes
    that want the same file wait for the first.

    Args:
        url: http or https; the last part of its path names the file.
        checksum: `md5:…`, `sha256:…` or a bare sha256, hexadecimal. None: it is unknown; the
            sha256 of what came is written to `NAME.sha256`, and checked from then on.
        folder: made if it isn't there.
        progress: whether to draw a bar with the size on standard error.

    Raises:
        InputError: the host doesn't answer, has no such file, sends something else than the
            checksum says, or the folder can't be written.
    """
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if not name or urlsplit(url).scheme not in ("http", "https"):
        raise InputError(f"{url!r} is not the address of a file: http://… or https://… is needed")
    target = folder / name
    lock = FileLock(folder / f"{name}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise InputError(f"{folder} can't be written: {error.strerror or error}") from error
    try:
        _fetch(url, checksum, target, progress)
    finally:
        # Unlinked while held: a process that waits on it sees that it has no name, and retries.
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # a folder made for a download of which nothing came
            folder.rmdir()
    return target


def _fetch(url: str, checksum: str | None, target: Path, progress: bool) -> None:
    record = target.with_name(f"{target.name}.sha256")
    known = checksum
    if known is None and record.exists() and target.exists():
        known = record.read_text(encoding="ascii", errors="replace").strip()
        if pooch.file_hash(str(target)) != known:
            target.unlink()
            known = None
    pooch.get_logger().setLevel("WARNING")  # its notes would go to standard error
    try:
        _retrieve(url, known, target, progress)
    except OSError as error:
        raise InputError(f"{target}: can't be written ({error.strerror or error})") from error
    if checksum is None and known is None:
        temporary = record.with_name(f"{record.name}.{os.getpid()}")
        temporary.write_text(f"{pooch.file_hash(str(target))}\n", encoding="ascii")
        temporary.replace(record)


def _retrieve(url: str, known: str | None, target: Path, progress: bool) -> None:
    download = _Download(target.with_name(f"{target.name}.part"), known is not None, progress)
    for last in (False, True):
        try:
            pooch.retrieve(url, known, fname=target.name, path=target.parent, downloader=download)
            return
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            # The checksum differs: perhaps the file changed between two parts of the transfer.
            if last:
                raise InputError(
                    f"{url}: what came is not the expected file, its checksum is not {known}"
                ) from error


class _Download:
    """A downloader for pooch that resumes an interrupted transfer."""

    def __init__(self, part: Path, checked: bool, progress: bool) -> None:
        self._part = part
        self._progress = progress
        self._validator: str | None = None
        if not checked:
            # Without a checksum an old part may be of another file.
            part.unlink(missing_ok=True)

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        """Download to `output_file`.

        Raises:
            InputError: the host doesn't answer, refuses, or keeps breaking off.
        """
        failures = 0
        while True:
            before = self._size()
            try:
                self._transfer(url)
                break
            except requests.ConnectTimeout as error:
                reason = f"no answer within {duration(_CONNECT_SECONDS)}"
                raise InputError(_unreachable(url, reason)) from error
            except (requests.RequestException, _IncompleteError) as error:
                failures = 1 if self._size() > before else failures + 1
                if failures == _ATTEMPTS:
                    raise InputError(
                        _unreachable(url, f"{_reason(error)}, tried {_ATTEMPTS} times")
                    ) from error
                time.sleep(_PAUSE_SECONDS * 2 ** (failures - 1))
        self._part.replace(output_file)

    def _size(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _transfer(self, url: str) -> None:
        have = self._size()
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if self._validator:
                headers["If-Range"] = self._validator
        timeout = (_CONNECT_SECONDS, _READ_SECONDS)
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
            status = response.status_code
            if status == 416:  # nothing after what is here: it is all, or belongs elsewhere
                if response.headers.get("Content-Range") != f"bytes */{have}":
                    self._part.unlink()
                    raise _IncompleteError("the file changed")
                return
            if status == 429 or status >= 500:
                raise _IncompleteError(f"status {status} {response.reason}")
            if status not in (200, 206):
                raise InputError(_unreachable(url, f"status {status} {response.reason}"))
            resumed = status == 206
            if resumed and not response.headers.get("Content-Range", "").startswith(
                f"bytes {have}-"
            ):
                self._part.unlink()
                raise _IncompleteError("the file changed")
            self._validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
            self._save(response, have if resumed else 0)

    def _save(self, response: requests.Response, start: int) -> None:
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        with (
            self._part.open("ab" if start else "wb") as file,
            tqdm(
                desc=self._part.stem,
                total=total,
                initial=start,
                unit="B",
                unit_scale=True,
                disable=not self._progress,
            ) as bar,
        ):
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        if total is not None and self._size() != total:
            raise _IncompleteError(f"{self._size()} of {total} bytes came")


class _IncompleteError(Exception):
    """The transfer ended early; another try may complete it."""


def _reason(error: Exception) -> str:
    if isinstance(error, _IncompleteError):
        return str(error)
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not accepted"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.Timeout):
        return f"nothing came for {duration(_READ_SECONDS)}"
    return "no connection"


def _unreachable(url: str, reason: str) -> str:
    return f"can't download {url} from {urlsplit(url).hostname}: {reason}. Is the network there?"
