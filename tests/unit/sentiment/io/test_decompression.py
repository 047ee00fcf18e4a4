from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment.errors import InputError
from sentiment.io import decompression
from sentiment.io.decompression import read_plain

CONTENT = b"".join(b"text number %d\n" % i for i in range(3000))


def _zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


def _zip(data: bytes, *names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("inner.csv",):
            archive.writestr(name, data)
    return buffer.getvalue()


FORMS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": _zstd,
    ".zip": _zip,
}
STREAMS = [ending for ending in FORMS if ending != ".zip"]


@pytest.mark.parametrize("ending", FORMS)
def test_each_form_is_read_whole(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"t.csv{ending}"
    path.write_bytes(FORMS[ending](CONTENT))
    assert read_plain(path) == ("inner.csv" if ending == ".zip" else "t.csv", CONTENT)


@pytest.mark.parametrize("ending", STREAMS)
def test_streams_one_after_the_other_are_one_file(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"t.csv{ending}"
    path.write_bytes(FORMS[ending](CONTENT) + FORMS[ending](b"more"))
    assert read_plain(path)[1] == CONTENT + b"more"


@pytest.mark.parametrize("ending", FORMS)
def test_what_is_torn_or_damaged_is_never_read_in_part(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"t.csv{ending}"
    whole = FORMS[ending](CONTENT)
    second = bytearray(whole if ending == ".zip" else whole + FORMS[ending](CONTENT))
    second[len(whole) // 2 if ending == ".zip" else len(whole) + 1] ^= 0xFF
    for torn in (b"", whole[:-1], whole[: len(whole) // 2], b"not compressed", bytes(second)):
        path.write_bytes(torn)
        with pytest.raises(InputError, match="can't be decompressed"):
            read_plain(path)


@pytest.mark.parametrize("ending", FORMS)
def test_a_bomb_is_refused(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompression, "ALWAYS_ALLOWED", 1000)
    monkeypatch.setattr(decompression, "LARGEST_RATIO", 2)
    path = tmp_path / f"t.csv{ending}"
    path.write_bytes(FORMS[ending](bytes(100_000)))
    with pytest.raises(InputError, match="refused, it decompresses to more than"):
        read_plain(path)


def test_archives_hold_one_file(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    path.write_bytes(_zip(CONTENT, "folder/", "folder/t.csv", "__MACOSX/._t.csv", ".DS_Store"))
    assert read_plain(path) == ("t.csv", CONTENT)
    path.write_bytes(_zip(CONTENT, "a.csv", "b.csv"))
    with pytest.raises(InputError, match=r"an archive of 2 files \(a.csv, b.csv\); unpack it"):
        read_plain(path)
    locked = bytearray(_zip(CONTENT))
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(locked)
    with pytest.raises(InputError, match="the archive is encrypted"):
        read_plain(path)


@settings(max_examples=60, deadline=None)
@given(ending=st.sampled_from(list(FORMS)), place=st.floats(0, 1), bit=st.integers(0, 7))
def test_a_flipped_bit_loses_nothing(
    ending: str, place: float, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(FORMS[ending](CONTENT))
    data[min(int(place * len(data)), len(data) - 1)] ^= 1 << bit
    path = tmp_path_factory.mktemp("flipped") / f"t.csv{ending}"
    path.write_bytes(data)
    try:
        content = read_plain(path)[1]
    except InputError as error:
        assert str(path) in str(error)
    else:
        # Zstandard has a checksum only where its writer asks for one.
        assert content == CONTENT or ending == ".zst"
