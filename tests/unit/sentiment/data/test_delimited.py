from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment.data.config import DataConfig
from sentiment.data.tables import Table, read_table
from sentiment.errors import InputError


def read(path: Path, content: str | bytes, **options: Any) -> Table:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(DataConfig(data=str(path), **options))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.csv"


def test_a_byte_order_mark_and_blank_lines_do_no_harm(path: Path) -> None:
    table = read(path, "\ufefftext,label\r\n\r\ngood,1\r\nbad,0\r\n\r\n")
    assert (table.texts, table.labels) == (["good", "bad"], ["1", "0"])


def test_a_text_of_megabytes(path: Path) -> None:
    before = csv.field_size_limit()
    table = read(path, f"text,label\n{'long ' * 10**6},pos\n")
    assert len(table.texts[0]) == 5 * 10**6
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt"])
def test_the_delimiter_is_detected(delimiter: str, ending: str, tmp_path: Path) -> None:
    rows = ["id", "text", "label"], ["1", "a, b; c", "x"], ["2", "d | e", "y"]
    path = tmp_path / f"t{ending}"
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    content = path.read_text()
    table = read(path, content)
    assert (table.texts, table.labels) == (["a, b; c", "d | e"], ["x", "y"])
    headless = content.split("\n", 1)[1]
    table = read(path, headless, no_header=True, text_column="2", label_column="3")
    assert table.texts == ["a, b; c", "d | e"]


def test_the_delimiter_is_given(path: Path) -> None:
    for delimiter, character in (("pipe", "|"), ("\\t", "\t"), ("tab", "\t"), ("^", "^")):
        table = read(path, f"text,a{character}label\nx,y{character}1\n", delimiter=delimiter,
                     text_column="text,a")  # fmt: skip
        assert table.texts == ["x,y"]


def test_columns_are_named_by_number(path: Path) -> None:
    content = '"0","id","first"\r\n"4","id","second"\r\n'
    table = read(path, content, no_header=True, text_column="3", label_column="1")
    assert (table.texts, table.labels) == (["first", "second"], ["0", "4"])
    with pytest.raises(InputError, match=r"no columns 'text' and 'label'.*'0', 'id'.*--no-header"):
        read(path, content)
    with pytest.raises(InputError, match="no column 'text'; the columns are '1', '2', '3'"):
        read(path, content, no_header=True, label_column="1")


def test_quotation_marks_that_are_text(path: Path) -> None:
    content = 'text,label\n"so" they say,1\nthe 5" one,0\n'
    with pytest.raises(InputError, match=r"line 2: the row can't be read.*--quoting none"):
        read(path, content)
    assert read(path, content, quoting="none").texts == ['"so" they say', 'the 5" one']


def test_marks_that_are_escaped(path: Path) -> None:
    content = 'text,label\n"he said \\"no\\", twice",1\nplain,0\n'
    with pytest.raises(InputError, match=r"escaped by a backslash\? --escape '\\'"):
        read(path, content)
    assert read(path, content, escape="\\").texts == ['he said "no", twice', "plain"]


STRAY = 'text,label\na,0\n"b,1\nc,0\nd",1\ne,0\n'


@pytest.mark.parametrize("layout", ["{text},{label}", "{label},{text}", "7,{label},x,{text}"])
def test_a_stray_mark_never_swallows_rows_without_a_word(layout: str, path: Path) -> None:
    header = layout.format(text="text", label="label").replace("7", "id").replace("x,", "more,")
    rows = [layout.format(text=f"film {i}", label=i % 2) for i in range(20)]
    rows[5] = layout.format(text='"film 5', label=1)
    rows[8] = layout.format(text='film 8"', label=0)
    content = "\n".join([header, *rows, ""])
    try:
        table = read(path, content)
    except InputError as error:
        assert "--quoting none" in str(error)
    else:
        assert len(table.texts) == 20
    assert len(read(path, content, quoting="none").texts) == 20


def test_a_stray_mark_is_named_with_its_line(path: Path) -> None:
    message = "line 3: a quotation mark makes one row of the lines 3 to 5, of which 3 look like"
    with pytest.raises(InputError, match=message):
        read(path, STRAY)
    assert read(path, STRAY, quoting="none").texts == ["a", '"b', "c", 'd"', "e"]
    table = read(path, STRAY, quoting="standard")
    assert table.texts == ["a", "b,1\nc,0\nd", "e"]
    assert "3 rows read (1 of them over several lines)" in str(table.account)


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_texts_of_several_lines_are_texts(quoting: int, path: Path) -> None:
    rows = [("one\ntwo, three\r\nfour", "pos"), ("five\n\nsix", "neg"), ("seven, eight\n", "pos")]
    for order in ((0, 1), (1, 0)):
        with path.open("w", newline="") as file:
            writer = csv.writer(file, quoting=quoting)  # type: ignore[arg-type]
            names = ("text", "label")
            writer.writerows([[row[i] for i in order] for row in (names, *rows)])
        table = read(path, path.read_bytes())
        assert list(zip(table.texts, table.labels, strict=True)) == rows


STRAYS = ["{}", "{}", "{}", '"{}', '{}"', '"{}"x', '{} "', 'a "{}"']


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["a", "b c", "d, e"]), st.sampled_from(STRAYS)), min_size=3
    ),
    label_first=st.booleans(),
)
def test_whatever_marks_there_are_no_row_is_lost(
    rows: list[tuple[str, str]], label_first: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rows") / "t.csv"
    lines = ["label,text" if label_first else "text,label"]
    rows = [("fine", "{}")] * 2 + rows  # each label is known from a row that is whole
    for i, (text, stray) in enumerate(rows):
        field = stray.format(f'"{text}"' if "," in text and stray == "{}" else text)
        lines.append(f"{i % 2},{field}" if label_first else f"{field},{i % 2}")
    try:
        assert len(read(path, "\n".join(lines)).texts) == len(rows)
    except InputError as error:
        assert "--quoting none" in str(error) or "incomplete" in str(error)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,stars\nx,1\n", "no column 'label'; the columns are 'text', 'stars': name one by"),
        ("Text, Label\nx,1\n", "? Give --text-column Text --label-column ' Label'"),
        ("txt,label\nx,1\n", "did you mean 'txt'? Give --text-column txt"),
        ("text_label\nx;1\n", "if the columns are not separated: --delimiter"),
        ("text,label,text\nx,1,y\n", "two columns 'text'"),
        ("text,label\nx,1\ny\n", "line 3: 1 fields (delimiter comma), but the header has 2"),
        ("text,label\nx,y,1\n", "line 2: 3 fields (delimiter comma), but the header has 2"),
        ("text;label\nx;y;1\n", "line 2: 3 fields (delimiter semicolon), but the header has 2"),
        ('text,label\nx,1\n"torn\nand,0\n', "line 3: the row can't be read"),
        ('text,label\n"x" y,1\n', "line 2: the row can't be read"),
        (b"text,label\nx,1\ny\xff,0\n", "line 3: not UTF-8 (byte 0xff); name its encoding: --enc"),
        (b"text,label\n\0\n", "line 2: 1 fields"),
    ],
)  # fmt: skip
def test_a_wrong_file(content: str | bytes, message: str, path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(path, content)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2
