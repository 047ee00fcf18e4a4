"""Encodings: of a user's file, and of names that must be UTF-8."""

from __future__ import annotations

import codecs
from pathlib import Path

from sentiment.errors import InputError

# The longer first: UTF-32's little-endian mark begins with UTF-16's.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

_SIGNATURES = {
    b"\x1f\x8b": "gzip: it must end in .gz",
    b"BZh": "bzip2: it must end in .bz2",
    b"\xfd7zXZ": "xz: it must end in .xz",
    b"\x28\xb5\x2f\xfd": "Zstandard: it must end in .zst",
    b"PK\x03\x04": "a ZIP archive or a spreadsheet: save that as CSV",
    b"\xd0\xcf\x11\xe0": "a spreadsheet: save it as CSV",
    b"PAR1": "Parquet: it must end in .parquet",
}


def decoded(path: Path, data: bytes, encoding: str | None) -> tuple[str, str]:
    """Return a file's text, without its byte order mark, and the name of the encoding.

    Args:
        path: the file, for messages.
        data: its content.
        encoding: as the user gives it; None: as a byte order mark says, or else UTF-8.

    Raises:
        InputError: the encoding is unknown, or the file is in another.
    """
    mark = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
    chosen = encoding or mark or "utf-8"
    try:
        text = data.decode(chosen)
    except LookupError as error:
        raise InputError(
            f"--encoding {chosen}: there is no such text encoding; common ones are utf-8, utf-16, "
            "cp1252 and latin-1"
        ) from error
    except UnicodeError as error:
        raise InputError(_not_decodable(path, data, chosen, mark, error)) from error
    if encoding is None and mark is None and _looks_wide(data):
        raise InputError(f"{path}: not UTF-8; {_wide_hint(data)}")
    return text.removeprefix("\ufeff"), codecs.lookup(chosen).name


def _looks_wide(data: bytes) -> bool:
    """Whether so many bytes are zero that a character takes more than one."""
    return data[:2000].count(0) > len(data[:2000]) // 4


def _wide_hint(data: bytes) -> str:
    return f"it looks like --encoding {'utf-16-le' if data[1:2] == bytes(1) else 'utf-16-be'}"


def _not_decodable(path: Path, data: bytes, chosen: str, mark: str | None, error: Exception) -> str:
    kind = next((text for start, text in _SIGNATURES.items() if data.startswith(start)), None)
    if kind is not None:
        return f"{path}: not text but {kind}"
    where = str(path)
    what = ""
    if isinstance(error, UnicodeDecodeError):
        line = data.count(b"\n", 0, error.start) + 1
        where = f"{path}, line {line}"
        if error.start < len(data):
            what = f" (byte {data[error.start]:#04x})"
    if chosen != "utf-8" or mark:
        given = "its byte order mark says that it is" if chosen == mark else "is it"
        return f"{where}: not {chosen}{what}; {given} {chosen}? Name another by --encoding"
    if _looks_wide(data):
        return f"{where}: not UTF-8{what}; {_wide_hint(data)}"
    try:
        data.decode("cp1252")
        likely = "--encoding cp1252 (Windows, Western European) or another"
    except UnicodeDecodeError:
        likely = "--encoding latin-1, cp1251, shift_jis or another"
    return f"{where}: not UTF-8{what}; name its encoding: {likely}, or save the file as UTF-8"


def is_unicode(text: str) -> bool:
    """Whether a string holds characters alone, no half of a surrogate pair.

    Such halves represent the bytes of names that are not UTF-8, and may be escaped in JSON.
    """
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_utf8(name: str, what: str) -> None:
    """Refuse a name that isn't UTF-8, which neither the record nor libraries could hold.

    Args:
        name: of a file or folder.
        what: what it is, for the message.

    Raises:
        InputError: it isn't.
    """
    if not is_unicode(name):
        raise InputError(f"{name}: {what} is not UTF-8; rename it, or choose another")
