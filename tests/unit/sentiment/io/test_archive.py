from __future__ import annotations

import gzip
import io
import re
import tarfile
from pathlib import Path

import pytest

from sentiment.errors import InputError
from sentiment.io.archive import read_members

TEXTS = re.compile(r"\.txt$")


def _archive(path: Path, *members: tuple[str, bytes, bytes], mode: str = "w:gz") -> Path:
    """Write an archive of members (name, type, contents)."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, kind, contents in members:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(contents), "a/x.txt"
            archive.addfile(member, io.BytesIO(contents))
    return path


FILE = ("a/x.txt", tarfile.REGTYPE, b"good")


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_the_wanted_members_are_read(tmp_path: Path, mode: str) -> None:
    folder, other = ("a", tarfile.DIRTYPE, b""), ("a/y.bin", tarfile.REGTYPE, b"\0" * 5000)
    path = _archive(tmp_path / "t.tar", folder, FILE, other, ("b.txt", FILE[1], b""), mode=mode)
    assert read_members(path, TEXTS, 10**6) == {"a/x.txt": b"good", "b.txt": b""}


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (("../x.txt", tarfile.REGTYPE, b"x"), "'../x.txt' lies outside its folder"),
        (("a/../../x", tarfile.REGTYPE, b"x"), "'a/../../x' lies outside its folder"),
        (("/etc/x", tarfile.REGTYPE, b"x"), "'/etc/x' lies outside its folder"),
        (("a/link", tarfile.SYMTYPE, b""), "'a/link' is a link, a device or sparse"),
        (("a/link", tarfile.LNKTYPE, b""), "'a/link' is a link"),
        (("a/zero", tarfile.CHRTYPE, b""), "'a/zero' is a link, a device"),
        (("a/pipe", tarfile.FIFOTYPE, b""), "'a/pipe' is a link, a device"),
    ],
)
def test_a_hostile_member_is_refused(
    tmp_path: Path, member: tuple[str, bytes, bytes], message: str
) -> None:
    path = _archive(tmp_path / "t.tar.gz", FILE, member)
    with pytest.raises(InputError, match=re.escape(f"{path}: refused, its member {message}")):
        read_members(path, TEXTS, 10**6)


def test_what_unpacks_to_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    path = _archive(tmp_path / "t.tar.gz", ("big.bin", tarfile.REGTYPE, bytes(10**7)))
    assert path.stat().st_size < 20_000
    with pytest.raises(InputError, match="unpacks to more than 1000000 bytes"):
        read_members(path, TEXTS, 10**6)


def test_a_damaged_archive(tmp_path: Path) -> None:
    whole = _archive(
        tmp_path / "t.tar.gz", *[(f"{i}.txt", FILE[1], bytes([i] * 999)) for i in range(99)]
    )
    data = whole.read_bytes()
    flipped = bytearray(data)
    flipped[-6] ^= 1  # in gzip's checksum, behind the last member
    contents = [data[: len(data) // 2], data[:-4], bytes(flipped), b"", b"no archive" * 100]
    contents += [gzip.decompress(data)[:50_000], gzip.compress(b"no archive" * 100)]
    for number, damaged in enumerate(contents):
        path = tmp_path / f"{number}.tar.gz"
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=rf"{number}\.tar\.gz: can't be read as a tar archive"):
            read_members(path, TEXTS, 10**7)
    with pytest.raises(InputError, match="No such file"):
        read_members(tmp_path / "none.tar", TEXTS, 10**6)
