"""Where the Ray that a sweep starts keeps its files: writable, with room, and short enough.

Ray writes logs and sockets below `$RAY_TMPDIR`, else `$TMPDIR`, else `/tmp`. It
reports a folder that is full or too deep only after its timeouts, when the sweep is recorded.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sentiment.errors import InputError
from sweeps.errors import SweepError

VARIABLE = "RAY_TMPDIR"
NEEDED = 64 * 2**20
"""Bytes that must be free: a sweep's logs take one to ten megabytes, and the machine some."""
_LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
"""Bytes of the path of a socket, a limit of the operating system."""
_SOCKET = "ray/session_2026-01-31_23-59-59_123456_{pid}/sockets/plasma_store"
_SHORT = "/tmp"


def choose_directory() -> Path:
    """Return the folder to set `$RAY_TMPDIR` to; nothing is written.

    It is the one that is given there, or else the first of `$TMPDIR` and `/tmp` that will do.

    Raises:
        InputError: the path is too long, or can't be written.
        SweepError: its disk is full.
    """
    if os.environ.get(VARIABLE):
        names = [VARIABLE]
    else:
        names = ["TMPDIR"] if os.environ.get("TMPDIR") else []
    candidates = [(f"{name}={os.environ[name]}", os.environ[name]) for name in names]
    if VARIABLE not in names:
        candidates.append((_SHORT, _SHORT))
    errors: list[InputError | SweepError] = []
    for shown, folder in candidates:
        problem = _problem(shown, Path(folder).absolute())
        if problem is None:
            return Path(folder).absolute()
        errors.append(problem)
    raise errors[0]


@contextmanager
def used_by_ray(folder: Path) -> Iterator[None]:
    """Have what Ray starts from now on use a folder, and undo that at the end."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def full(folder: Path) -> SweepError | None:
    """Return the error of a folder whose disk is full; None if there is room for Ray's files."""
    free = shutil.disk_usage(_existing(folder)).free
    if free >= NEEDED:
        return None
    return SweepError(
        f"the disk is full: Ray needs {NEEDED / 1e6:.0f} MB in {folder}, which has "
        f"{free / 1e6:.0f} MB left; free some room, or set {VARIABLE} to a folder on another disk"
    )


def full_store(folder: Path) -> SweepError:
    """Return the error of data that fits neither into shared memory nor on the disk of a folder."""
    return SweepError(
        "the disk is full: the data of the trials fits neither into /dev/shm nor into "
        f"{folder}; give more shared memory (docker run --shm-size), or set {VARIABLE} to a folder "
        "on another disk"
    )


def _problem(shown: str, folder: Path) -> InputError | SweepError | None:
    socket = folder / _SOCKET.format(pid=os.getpid())
    excess = len(os.fsencode(socket)) - _LONGEST_SOCKET
    remedy = f"set {VARIABLE} to a short path that can be written, such as /var/tmp"
    if excess > 0:
        return InputError(
            f"{shown}: the path is {excess} bytes too long for Ray's sockets; {remedy}"
        )
    existing = _existing(folder / "ray")
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return InputError(f"{shown}: {existing} can't be written, and Ray needs that; {remedy}")
    return full(folder)


def _existing(path: Path) -> Path:
    """Return the path, or the nearest of its parents that is there."""
    return next(each for each in (path, *path.parents) if each.exists())
