"""Reading a tar archive that may be damaged or hostile: checked whole, nothing is unpacked."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, cast

from sentiment.errors import InputError

_BUFFER = 1 << 20


def read_members(path: Path, wanted: re.Pattern[str], limit: int) -> dict[str, bytes]:
    """Return the contents of the files of a `.tar` or `.tar.gz` whose names match.

    Args:
        path: the archive.
        wanted: searched for in the members' names.
        limit: largest size of the whole archive, decompressed, in bytes.

    Raises:
        InputError: the archive can't be read, is damaged or decompresses to more than
            `limit`, or any member, wanted or not, is a link, a device or lies outside the
            folder that the archive is for.
    """
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw) if compressed else raw)
            limited = io.BufferedReader(_Limited(stream, limit, path), _BUFFER)
            with tarfile.open(fileobj=limited, mode="r|", bufsize=_BUFFER) as archive:
                contents = _read(archive, path, wanted)
            while limited.read(_BUFFER):
                pass  # to the end, where gzip's checksum is
            return contents
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: can't be read as a tar archive ({reason})") from error


def _read(archive: tarfile.TarFile, path: Path, wanted: re.Pattern[str]) -> dict[str, bytes]:
    contents = {}
    for member in archive:
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise InputError(f"{path}: refused, its member {member.name!r} lies outside its folder")
        # The size of a sparse file is whatever it says, so `limit` would not bound it.
        if member.issparse() or not (member.isfile() or member.isdir()):
            raise InputError(
                f"{path}: refused, its member {member.name!r} is a link, a device or sparse"
            )
        file = archive.extractfile(member) if wanted.search(member.name) else None
        if file is not None:
            contents[member.name] = file.read()
    return contents


class _Limited(io.RawIOBase):
    """A stream that may yield so many bytes, however few it is made of."""

    def __init__(self, stream: IO[bytes], limit: int, path: Path) -> None:
        self._stream, self._limit, self._left, self._path = stream, limit, limit, path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise InputError(f"{self._path}: refused, it unpacks to more than {self._limit} bytes")
        buffer[: len(data)] = data
        return len(data)
