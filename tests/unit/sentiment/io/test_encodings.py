from __future__ import annotations

from pathlib import Path

import pytest

from sentiment.errors import InputError
from sentiment.io.encodings import check_utf8, decoded

FILE = Path("t.csv")
TEXT = "text,label\nfür 😀,1\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_recognised(encoding: str) -> None:
    assert decoded(FILE, TEXT.encode(encoding), None)[0] == TEXT
    big = "\ufeff".encode("utf-16-be") + TEXT.encode("utf-16-be")
    assert decoded(FILE, big, None) == (TEXT, "utf-16")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf_32"])
def test_an_encoding_is_given(encoding: str) -> None:
    assert decoded(FILE, TEXT.encode(encoding), encoding)[0] == TEXT
    assert decoded(FILE, "für".encode("cp1252"), "Latin-1") == ("für", "iso8859-1")


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        (
            "x\nfür".encode("cp1252"),
            None,
            "line 2: not UTF-8 (byte 0xfc); name its encoding: --enc",
        ),
        (b"\x81\x8d", None, "--encoding latin-1, cp1251, shift_jis or another"),
        ("text,label".encode("utf-16-le"), None, "it looks like --encoding utf-16-le"),
        ("text,é".encode("utf-16-be"), None, "it looks like --encoding utf-16-be"),
        (TEXT.encode("utf-16")[:-1], None, "its byte order mark says that it is utf-16?"),
        (b"caf\xe9", "ascii", "not ascii (byte 0xe9); is it ascii? Name another by --encoding"),
        (b"x", "utf-9", "--encoding utf-9: there is no such text encoding"),
        (b"x", "hex", "--encoding hex: there is no such text encoding"),
        (b"\x1f\x8b\x08\xff", None, "not text but gzip: it must end in .gz"),
        (b"PK\x03\x04\xff\xff", None, "not text but a ZIP archive or a spreadsheet: save that"),
        (b"PAR1\xff\xff", None, "not text but Parquet: it must end in .parquet"),
    ],
)
def test_another_encoding(data: bytes, encoding: str | None, message: str) -> None:
    with pytest.raises(InputError) as caught:
        decoded(FILE, data, encoding)
    assert message in str(caught.value)


def test_names_must_be_utf8() -> None:
    check_utf8("café.csv", "the file's name")
    with pytest.raises(InputError, match="the file's name is not UTF-8; rename it"):
        check_utf8("caf\udce9.csv", "the file's name")
