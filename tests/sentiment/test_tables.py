from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment.errors import InputError
from sentiment.tables import Table, read_table

ROWS = [
    ('a, "quoted" one\nof two lines', "pos", "train"),
    ("tab\there, ünïcode 😀", "neg", "Dev"),
    (" NA ", "1.0", "TEST"),
]
TABLE = Table(
    [text for text, _, _ in ROWS], [label for _, label, _ in ROWS], ["train", "valid", "test"]
)


def _write(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    names = ("text", "label", "part")
    if path.suffix == ".jsonl":
        lines = (json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows)
        path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    elif path.suffix == ".parquet":
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        pq.write_table(pa.table(columns), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="," if path.suffix == ".csv" else "\t")
            writer.writerows([names, *rows])
    return path


def _error(path: Path, content: str | bytes, **columns: str) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        read_table(path, columns.get("text", "text"), columns.get("label", "label"))
    message = str(caught.value)
    assert str(path) in message
    assert message.count("\n") <= 1
    return message


@pytest.mark.parametrize("name", ["t.csv", "t.TSV", "t.jsonl", "t.parquet"])
def test_every_format_gives_the_same_table(name: str, tmp_path: Path) -> None:
    path = _write(tmp_path / name.lower(), ROWS).rename(tmp_path / name)
    assert read_table(path, "text", "label", "part") == TABLE
    assert read_table(path, "text", "label").splits is None


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet"])
def test_what_is_written_is_read(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("tables") / name
    texts = st.text(st.characters(exclude_categories=("Cs",))).filter(str.strip)

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.tuples(texts, st.sampled_from(["a", "b"]), st.just("train")), min_size=1))
    def check(rows: list[tuple[str, str, str]]) -> None:
        table = read_table(_write(path, rows), "text", "label", "part")
        assert list(zip(table.texts, table.labels, strict=True)) == [row[:2] for row in rows]

    check()


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("\ufefftext,label\r\n\r\ngood,1\r\nbad,0\r\n\r\n".encode())
    assert read_table(path, "text", "label") == Table(["good", "bad"], ["1", "0"], None)


def test_a_text_of_megabytes(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", [("long " * 10**6, "pos", "train")])
    before = csv.field_size_limit()
    assert len(read_table(path, "text", "label").texts[0]) == 5 * 10**6
    assert csv.field_size_limit() == before


def test_json_keeps_what_a_string_may_hold(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "\\ud800 \\u0000 \u2028", "label": 1}\n', encoding="utf-8")
    assert read_table(path, "text", "label").texts == ["\ud800 \0 \u2028"]


@pytest.mark.parametrize(
    ("value", "label"), [("1", "1"), ("1.0", "1"), ("1.5", "1.5"), ("true", "True"), ('" a "', "a")]
)
def test_labels_of_any_kind_become_strings(value: str, label: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(f'{{"text": "x", "label": {value}}}', encoding="utf-8")
    assert read_table(path, "text", "label").labels == [label]


def test_integers_with_categories_in_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    text = pa.array(["x", "y", "x"]).dictionary_encode()
    pq.write_table(pa.table({"text": text, "label": [0, 1, 0], "other": [[], [1], []]}), path)
    assert read_table(path, "text", "label") == Table(["x", "y", "x"], ["0", "1", "0"], None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,stars\nx,1\n", "no column 'label'; the columns are 'text', 'stars'"),
        ("text;label\nx;1\n", "no column 'text'; the columns are 'text;label'"),
        ("text,label,text\nx,1,y\n", "two columns 'text'"),
        ("text,label\nx,1\n ,0\n", "line 3: the text is empty"),
        ('text,label\n"x\ny",1\nz, \n', "line 4: the label is missing"),
        ("text,label\nx,1\ny\n", "line 3: 1 fields, but the header has 2"),
        ("text,label\nx,y,1\n", "line 2: 3 fields, but the header has 2"),
        ('text,label\nx,1\n"torn\nand,0\n', "line 3: the row can't be read"),
        ('text,label\n"x" y,1\n', "line 2: the row can't be read"),
        ("", "no rows"),
        ("text,label\n", "no rows"),
        (b"text,label\nx,1\ny\xff,0\n", "line 3: not UTF-8 (byte 0xff)"),
        ("text,label\nx,1\n".encode("utf-16"), "line 1: not UTF-8"),
        (b"\0\0\0\0\n\0", "no column 'text'"),
        (b"text,label\n\0\n", "line 2: 1 fields"),
    ],
)
def test_a_wrong_csv(content: str | bytes, message: str, tmp_path: Path) -> None:
    assert message in _error(tmp_path / "t.csv", content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "x", "label": 1}\n{"text": "y"}\n', "line 2: there is no column 'label'"),
        ('{"text": "x", "label": 1}\n\n[1]\n', "line 3: not a JSON object but [1]"),
        ('{"text": "x", "label": 1}\n{"text": "y", "la', "line 2: not JSON"),
        ("[" * 100_000, "line 1: not JSON"),
        ('{"text": "x", "label": ' + "1" * 10_000 + "}", "line 1: not JSON"),
        ('{"text": 5, "label": 1}', "line 1: the text is not a string, it is 5"),
        ('{"text": null, "label": 1}', "line 1: the text is missing"),
        ('{"text": "x", "label": NaN}', "line 1: the label is missing"),
        ('{"text": "x", "label": null}', "line 1: the label is missing"),
        ('{"text": "x", "label": [1]}', "line 1: the label is neither a string nor a number"),
        (b'{"text": "x", "label": 1}\n{"text": "\xe9", "label": 1}', "line 2: not UTF-8"),
    ],
)
def test_a_wrong_jsonl(content: str | bytes, message: str, tmp_path: Path) -> None:
    assert message in _error(tmp_path / "t.jsonl", content)


def test_a_wrong_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": ["x", None], "label": [1, 2]}), path)
    whole = path.read_bytes()
    assert "row 2: the text is missing" in _error(path, whole)
    assert "no column 'stars'; the columns are 'text', 'label'" in _error(
        path, whole, label="stars"
    )
    assert "can't be read as Parquet" in _error(path, whole[:-20])
    assert "can't be read as Parquet" in _error(path, whole[:4] + bytes(40) + whole[44:])
    assert "can't be read as Parquet" in _error(path, b"")
    torn = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")]
    )
    pq.write_table(pa.table({"text": torn, "label": [1, 2]}), path)
    assert "row 2: not UTF-8" in _error(path, path.read_bytes())


def test_an_unknown_split(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", [("x", "pos", "train"), ("y", "pos", "trial")])
    with pytest.raises(InputError, match=r"line 3: unknown split 'trial'; there are train, valid"):
        read_table(path, "text", "label", "part")


def test_a_file_that_is_not_there_or_of_no_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_table(tmp_path / "t.csv", "text", "label")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="Is a directory"):
        read_table(tmp_path / "folder.csv", "text", "label")
    with pytest.raises(
        InputError, match=r"unknown kind of file '.xlsx', it must end in .csv, .tsv"
    ):
        read_table(tmp_path / "t.xlsx", "text", "label")
