"""Compressed files, by their endings: read whole, and no further than is sensible."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import psutil

from sentiment.errors import InputError

LARGEST_RATIO = 200
"""So many times its own size may a file decompress to; text seldom shrinks to a twentieth."""

ALWAYS_ALLOWED = 256 << 20
"""Bytes to which any file may decompress."""


class _TooLargeError(Exception):
    """It decompresses to more than the limit."""


def plain_name(path: Path) -> str:
    """Return a file's name without the ending that says how it is compressed."""
    return path.stem if path.suffix.lower() in _DECOMPRESSORS else path.name


def read_plain(path: Path) -> tuple[str, bytes]:
    """Return a file's name and content, decompressed as its ending says.

    Raises:
        InputError: the file can't be read or is damaged, decompresses to too much, or is an
            archive of several files.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from error
    decompress = _DECOMPRESSORS.get(path.suffix.lower())
    if decompress is None:
        return path.name, data
    limit = max(ALWAYS_ALLOWED, LARGEST_RATIO * len(data))
    limit = min(limit, psutil.virtual_memory().available)
    try:
        if not data:
            raise EOFError("it is empty")
        inner, plain = decompress(data, limit)
    except _TooLargeError:
        raise InputError(
            f"{path}: refused, it decompresses to more than {limit:,} bytes; if that is right, "
            "decompress it and give the plain file"
        ) from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (
        EOFError,
        OSError,
        lzma.LZMAError,
        zlib.error,
        zipfile.BadZipFile,
        NotImplementedError,
    ) as error:
        reason = str(error) or type(error).__name__
        raise InputError(
            f"{path}: can't be decompressed ({reason:.200}); is it whole, and what its ending says?"
        ) from error
    return inner or path.stem, plain


def _gzip(data: bytes, limit: int) -> tuple[None, bytes]:
    return None, _bounded(gzip.GzipFile(fileobj=io.BytesIO(data)).read(limit + 1), limit)


def _zstandard(data: bytes, limit: int) -> tuple[None, bytes]:
    import pyarrow as pa

    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
        return None, _bounded(stream.read(limit + 1), limit)


def _streams(
    make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor],
) -> Callable[[bytes, int], tuple[None, bytes]]:
    # Not the file objects of bz2 and lzma, which end silently at a damaged second stream.
    def decompress(data: bytes, limit: int) -> tuple[None, bytes]:
        parts, left = [], limit + 1
        while True:
            stream = make()
            while not stream.eof and left > 0:
                part = stream.decompress(data, left)
                data = b""
                if not part and stream.needs_input and not stream.eof:
                    raise EOFError("it ends too early")
                parts.append(part)
                left -= len(part)
            if left <= 0:
                raise _TooLargeError
            data = stream.unused_data.lstrip(b"\0")
            if not data:
                return None, b"".join(parts)

    return decompress


def _zip(data: bytes, limit: int) -> tuple[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [
            member
            for member in archive.infolist()
            if not member.is_dir()
            and not member.filename.startswith("__MACOSX/")
            and not PurePosixPath(member.filename).name.startswith(".")
        ]
        if len(members) != 1:
            names = ", ".join(member.filename for member in members)
            raise InputError(
                f"an archive of {len(members)} files ({names:.200}); unpack it and name the files "
                "by --data, repeated"
            )
        (member,) = members
        if member.flag_bits & 1:
            raise InputError("the archive is encrypted; unpack it and give the file by --data")
        with archive.open(member) as file:
            return PurePosixPath(member.filename).name, _bounded(file.read(limit + 1), limit)


def _bounded(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise _TooLargeError
    return data


_DECOMPRESSORS: dict[str, Callable[[bytes, int], tuple[str | None, bytes]]] = {
    ".gz": _gzip,
    ".bz2": _streams(bz2.BZ2Decompressor),
    ".xz": _streams(lzma.LZMADecompressor),
    ".zst": _zstandard,
    ".zip": _zip,
}
COMPRESSED = tuple(_DECOMPRESSORS)
"""Endings of compressed files."""
