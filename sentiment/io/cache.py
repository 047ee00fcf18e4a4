"""Entries on disk that are built once, whoever asks first, and checked on every use."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from sentiment.errors import InputError
from sentiment.io.encodings import check_utf8

_MANIFEST = "manifest.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def cache_root() -> Path:
    """Return the folder of all entries: `$SENTIMENT_CACHE`, else the user's cache folder.

    Raises:
        InputError: its name is not UTF-8, or the user has no home folder and it is needed.
    """
    chosen = os.environ.get("SENTIMENT_CACHE")
    try:
        root = Path(chosen).expanduser() if chosen else user_cache_path("sentiment-sweeps")
    except RuntimeError as error:  # a container's user may have no entry of its own
        raise InputError(
            f"there is no folder for the cache ({error}): set SENTIMENT_CACHE to one that can "
            "be written"
        ) from None
    check_utf8(str(root), "the name of the cache's folder, SENTIMENT_CACHE,")
    return root


def cached(kind: str, fingerprint: str, build: Callable[[Path], None]) -> Path:
    """Return the folder of an entry, built by `build(folder)` if it isn't there or is damaged.

    One process builds while the others wait for it. The files are written to a folder beside
    the entry, then a manifest of their sizes and sha256, then the folder is renamed: an entry
    is whole or absent. An exception of `build` leaves nothing behind.

    Args:
        kind: what it is, the name of the folder of all such entries.
        fingerprint: names the contents; what would be built differently differs in it.
        build: writes the files into the empty folder that it is given.

    Raises:
        InputError: the cache can't be written.
        OSError: the disk is full; what was written is removed.
        ValueError: the names are no names of folders.
    """
    entry = _entry(kind, fingerprint)
    if is_intact(entry):
        return entry
    lock = FileLock(entry.with_name(f"{fingerprint}.lock"))
    try:
        _acquire(lock)
    except OSError as error:
        raise InputError(
            f"the cache {cache_root()} can't be written ({error.strerror or error}): "
            "set SENTIMENT_CACHE to a folder that can"
        ) from error
    try:
        if not is_intact(entry):
            _remove_leftovers(entry)
            _build(entry, build)
    finally:
        # Unlinked while held: a process that waits on it sees that it has no name, and retries.
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # a folder made for an entry that could not be built
            entry.parent.rmdir()
    return entry


def is_cached(kind: str, fingerprint: str) -> bool:
    """Whether an entry is there and undamaged."""
    return is_intact(_entry(kind, fingerprint))


def remove_entries(kind: str) -> None:
    """Remove all entries of a kind, but for those that a process is building just now."""
    for path in list((cache_root() / kind).iterdir()):
        if path.suffix == ".lock":
            continue
        # What a builder that was killed left is named after its entry.
        name = path.name[1:].rpartition("-")[0] if path.name.startswith(".") else path.name
        lock = FileLock(path.with_name(f"{name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        finally:
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path) -> None:
    """Write the sizes and checksums of all of a folder's files beside them; see `is_intact`."""
    manifest = folder / _MANIFEST
    files = {
        path.relative_to(folder).as_posix(): {
            "size": path.stat().st_size,
            "sha256": sha256_of(path),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != manifest
    }
    manifest.write_text(json.dumps(files, indent=1), encoding="utf-8")


def is_intact(folder: Path) -> bool:
    """Whether a folder has a manifest, and every file in it is as it was written."""
    try:
        files = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        # All sizes first: they cost nothing and find most damage.
        return all(
            (folder / name).stat().st_size == expected["size"] for name, expected in files.items()
        ) and all(
            sha256_of(folder / name) == expected["sha256"] for name, expected in files.items()
        )
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False


def _entry(kind: str, fingerprint: str) -> Path:
    for name in (kind, fingerprint):
        # Some names come from elsewhere, such as a tracking server's ids of models.
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a cache entry")
    return cache_root() / kind / fingerprint


def _acquire(lock: FileLock) -> None:
    path = Path(lock.lock_file)
    while not lock.is_locked:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Another process may remove the folder, empty till now, between the two calls.
        with suppress(FileNotFoundError):
            lock.acquire()


def _build(entry: Path, build: Callable[[Path], None]) -> None:
    folder = Path(tempfile.mkdtemp(prefix=_prefix(entry), dir=entry.parent))
    try:
        build(folder)
        write_manifest(folder)
        folder.chmod(0o755)
        folder.rename(entry)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _remove_leftovers(entry: Path) -> None:
    """Remove a damaged entry and what builders that were killed left; the lock is held."""
    if entry.exists():
        grave = Path(tempfile.mkdtemp(prefix=_prefix(entry), dir=entry.parent))
        entry.rename(grave / "damaged")
    for folder in entry.parent.glob(f"{_prefix(entry)}*"):
        shutil.rmtree(folder)


def _prefix(entry: Path) -> str:
    return f".{entry.name}-"
