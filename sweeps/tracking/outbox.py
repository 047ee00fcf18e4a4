"""Transactional outbox: what a sweep has reported and its store may not have, in order on disk.

An entry is appended here as a line of JSON before it goes to the store, and acknowledged once the
store has it. Entries that are not acknowledged when a process ends, however it ends, are delivered
when the sweep is resumed.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sentiment.errors import InputError

OUTBOX_FILE = "record.jsonl"
"""The outbox within a sweep's folder."""
_MODELS = "record-models"

Kind = Literal["start", "reopen", "log", "model", "end", "text"]


class RecordError(RuntimeError):
    """What happened could not be written to the store."""


class UndeliveredError(RecordError):
    """The store did not answer to the end; the outbox has what it did not get."""


@dataclass(frozen=True)
class Entry:
    """One thing that happened, with all that the store is to know of it.

    Attributes:
        number: its place in the order, from 1.
        kind: what it is.
        key: the trial's number or the baseline's name; None for the sweep itself.
        content: JSON.
    """

    number: int
    kind: Kind
    key: int | str | None
    content: dict[str, Any]


class Outbox:
    """The entries of one sweep that the store has not acknowledged.

    A line is passed to the operating system at once, so that the end of the process loses none.
    One process locks the outbox at a time. Methods may be called from any thread.

    Attributes:
        path: the file.
        left: the entries that an earlier process left.
    """

    def __init__(self, folder: Path) -> None:
        """Open and lock the outbox of a folder; both are made when they aren't there.

        Raises:
            InputError: another process has locked it, or it can't be opened.
        """
        self.path = folder / OUTBOX_FILE
        self._models = folder / _MODELS
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise InputError(f"{self.path}: can't be opened ({error.strerror})") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise InputError(
                f"the sweep {folder.name} is running, in another process: wait for it, or end that "
                "process first"
            ) from None
        self.left = self._read()
        self._last = self.left[-1].number if self.left else 0
        self._acknowledged = self.left[0].number - 1 if self.left else 0

    def append(self, kind: Kind, key: int | str | None, content: dict[str, Any]) -> Entry:
        """Keep an entry.

        Raises:
            RecordError: the disk does not take it.
        """
        with self._lock:
            entry = Entry(self._last + 1, kind, key, content)
            self._write([entry.number, kind, key, content])
            self._last = entry.number
        return entry

    def keep_model(self, bundle: Path, key: int | str) -> str:
        """Keep a bundle until its entry is acknowledged, and return its name here.

        Its files are linked where the disk allows it: a bundle never changes.

        Raises:
            RecordError: the disk does not take it.
        """
        name = f"{key}-{os.urandom(4).hex()}"
        folder = self._models / name
        try:
            shutil.copytree(bundle, folder, copy_function=_link)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise RecordError(
                f"the model of trial {key} can't be kept in {folder}: {error}"
            ) from error
        return name

    def model(self, name: str) -> Path:
        """Return the folder of a bundle that is kept here."""
        return self._models / name

    def acknowledge(self, number: int) -> None:
        """Mark all entries up to a number as delivered.

        Raises:
            RecordError: the disk does not take it.
        """
        with self._lock:
            self._write([number])
            self._acknowledged = number

    def drop_model(self, name: str) -> None:
        """Remove a bundle whose entry is acknowledged."""
        shutil.rmtree(self._models / name, ignore_errors=True)

    @property
    def waiting(self) -> int:
        """How many entries are not acknowledged."""
        return self._last - self._acknowledged

    def sync(self) -> None:
        """Wait until the disk itself has all entries, so that not even a power cut loses them."""
        os.fsync(self._file)

    def close(self) -> None:
        """Unlock the outbox; nothing is left on disk if all entries are acknowledged."""
        with self._lock:
            if not self.waiting:
                self.path.unlink(missing_ok=True)
                shutil.rmtree(self._models, ignore_errors=True)
            os.close(self._file)

    def _read(self) -> list[Entry]:
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            # The last line of a process that was killed, or whose disk was full.
            os.ftruncate(self._file, whole)
        entries: dict[int, Entry] = {}
        for place, line in enumerate(data[:whole].splitlines(), start=1):
            try:
                number, *rest = json.loads(line)
                if rest:
                    entries[number] = Entry(number, *rest)
                else:
                    entries = {n: entry for n, entry in entries.items() if n > number}
            except (ValueError, TypeError) as error:
                raise InputError(
                    f"{self.path}, line {place}: not what a sweep writes; without that file what "
                    "it holds is lost, all else continues"
                ) from error
        return list(entries.values())

    def _write(self, line: list[Any]) -> None:
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        size = os.fstat(self._file).st_size
        try:
            if os.write(self._file, data) < len(data):
                raise OSError("No space left on device")
        except OSError as error:
            os.ftruncate(self._file, size)
            reason = error.strerror or error
            raise RecordError(f"the record can't be kept in {self.path}: {reason}") from error


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without links.
        shutil.copy2(source, target)
