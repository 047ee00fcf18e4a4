from __future__ import annotations

import csv
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment.data import readers
from sentiment.data.columns import RawTable
from sentiment.data.config import DataConfig
from sentiment.data.tables import Table, read_table
from sentiment.errors import InputError

ROWS = [
    ('a, "quoted" one\nof two lines', "pos", "train"),
    ("tab\there, ünïcode 😀", "neg", "Dev"),
    (" NA ", "1.0", "TEST"),
]


def read(path: Path, **options: Any) -> Table:
    return read_table(DataConfig(data=str(path), **options))


def columns(table: Table) -> tuple[list[str], list[str], list[str] | None]:
    return table.texts, table.labels, table.splits


def refused(path: Path, content: str | bytes | None = None, **options: Any) -> str:
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert message.count("\n") <= 1
    return message


def write(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    names = ("text", "label", "part")
    ending = path.suffix.lower()
    records = [dict(zip(names, row, strict=True)) for row in rows]
    if ending == ".json":
        path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    elif ending in (".jsonl", ".ndjson"):
        lines = (json.dumps(record, ensure_ascii=False) for record in records)
        path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    elif ending == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="," if ending == ".csv" else "\t")
            writer.writerows([names, *rows])
    return path


@pytest.mark.parametrize(
    "name", ["t.csv", "t.TSV", "t.txt", "t.json", "t.jsonl", "t.ndjson", "t.parquet"]
)
def test_every_form_gives_the_same_table(name: str, tmp_path: Path) -> None:
    table = read(write(tmp_path / name, ROWS), split_column="part")
    assert columns(table) == (
        [text for text, _, _ in ROWS], ["pos", "neg", "1"], ["train", "valid", "test"]
    )  # fmt: skip
    assert (table.account.read, table.account.kept, table.account.left_out.total()) == (3, 3, 0)
    assert read(tmp_path / name).splits is None


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.json", "t.jsonl", "t.parquet"])
def test_what_is_written_is_read(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("tables") / name
    texts = st.text(st.characters(exclude_categories=("Cs",))).filter(str.strip)

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.tuples(texts, st.sampled_from(["a", "b"]), st.just("train")), min_size=1))
    def check(rows: list[tuple[str, str, str]]) -> None:
        delimited = {"quoting": "standard"} if path.suffix in (".csv", ".tsv") else {}
        table = read(write(path, rows), split_column="part", **delimited)
        assert list(zip(table.texts, table.labels, strict=True)) == [row[:2] for row in rows]

    check()


@pytest.mark.parametrize(
    ("value", "label"),
    [("1", "1"), ("1.0", "1"), ("1.5", "1.5"), ("true", "True"), ('" a "', "a"), ('"1.0"', "1")],
)
def test_labels_of_any_kind_become_strings(value: str, label: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(f'{{"text": "x", "label": {value}}}', encoding="utf-8")
    assert read(path).labels == [label]


@pytest.mark.parametrize(
    "labels",
    [
        pa.array([0, 1]),
        pa.array([0.0, 1.0]),
        pa.array([Decimal("0.00"), Decimal("1.00")]),
        pa.array(["0.0", "1"]),
        pa.array(["0", "1"]).dictionary_encode(),
        pa.array([b"0", b"1.0"]),
    ],
)
def test_labels_of_any_type_are_the_same_by_value(labels: pa.Array, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": ["x", "y"], "label": labels}), path)
    assert read(path).labels == ["0", "1"]


def test_labels_are_one_by_value_and_the_account_says_how_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,label\na,0\nb,0.0\nc, 1\nd,1.00\ne,+1\n")
    table = read(path)
    assert table.labels == ["0", "0", "1", "1", "1"]
    assert table.account.spellings == {"0": {"0": 1, "0.0": 1}, "1": {"1": 1, "1.00": 1, "+1": 1}}


INCOMPLETE = "text,label\na,0\n ,0\nb,\nc,nan\nd,1\ne,NaN\n"


def test_all_incomplete_rows_are_told_at_once(tmp_path: Path) -> None:
    message = refused(tmp_path / "t.csv", INCOMPLETE)
    assert (
        "4 of 6 rows are incomplete: 1 without a text (line 3), 1 without a label (line 4), "
        "1 with the label 'nan' (line 5), 1 with the label 'NaN' (line 7)"
    ) in message
    assert "--skip-incomplete leaves them out" in message
    assert "unless --label-map nan=nan says that it is one" in message


def test_incomplete_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(INCOMPLETE)
    table = read(tmp_path / "t.csv", skip_incomplete=True)
    assert (table.texts, table.labels) == (["a", "d"], ["0", "1"])
    assert str(table.account) == (
        "t.csv: 6 rows read, 4 skipped: 1 without a text, 1 without a label, "
        "1 with the label 'nan', 1 with the label 'NaN'"
    )


def test_a_label_that_looks_missing_may_be_meant(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\na,none\nb,toxic\n")
    assert read(tmp_path / "t.csv", label_map="none=none").labels == ["none", "toxic"]


@pytest.mark.parametrize("row", ['{"label": 1}', '{"text": null, "label": 1}', '{"text": NaN}'])
def test_a_field_that_some_objects_lack_is_missing(row: str, tmp_path: Path) -> None:
    message = refused(tmp_path / "t.jsonl", '{"text": "x", "label": 1}\n' + row)
    assert "1 of 2 rows are incomplete: 1 without a text (line 2)" in message


@pytest.mark.parametrize("field", ["text", "label"])
def test_half_a_character_is_found_before_anything_runs(field: str, tmp_path: Path) -> None:
    rows = [{"text": "fine", "label": "a"}, {"text": "x", "label": "b", field: "\ud83d x"}]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert "1 with half a surrogate pair, which is no character (line 2)" in refused(path)
    assert read(path, skip_incomplete=True).texts == ["fine"]


def test_labels_that_look_alike_are_a_question(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(
        f"t{i},{label}\n" for i, label in enumerate(["neg", "pos", "neg", "Neg", "Pos "])
    )
    message = refused(path, f"text,label\n{rows}")
    assert (
        "'neg' (2 rows) and 'Neg' (1 rows); 'pos' (1 rows) and 'Pos' (1 rows) look like" in message
    )
    assert "--label-map Neg=neg,Pos=pos joins them, --label-map Neg=Neg,Pos=Pos keeps" in message
    assert set(read(path, label_map="Neg=neg,Pos=pos").labels) == {"neg", "pos"}
    assert set(read(path, label_map="Neg=Neg,Pos=Pos").labels) == {"neg", "pos", "Neg", "Pos"}


def test_labels_get_other_names_or_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,label\na,1\nb,3\nc,4.0\nd,5\n")
    table = read(path, label_map=("1=neg,3=", "4=pos,5=pos"))
    assert (table.texts, table.labels) == (["a", "c", "d"], ["neg", "pos", "pos"])
    assert str(table.account) == "t.csv: 4 rows read, 1 skipped: 1 by --label-map"
    assert "unknown label '7': there are: 1, 3, 4, 5" in refused(path, label_map="7=x")


def test_columns_are_joined_to_one_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("title,body,label\nGood,It works,1\n,Only a body,1\nBad, ,0\n,,0\n")
    table = read(path, text_column=("title", "body"), skip_incomplete=True)
    assert table.texts == ["Good\nIt works", "Only a body", "Bad"]
    assert "1 without a text" in str(table.account)


def test_several_files_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,0\nb,1\n")
    (tmp_path / "b.jsonl").write_text('{"text": "c", "label": 1}\n{"text": "", "label": 0}\n')
    files = (str(tmp_path / "a.csv"), str(tmp_path / "b.jsonl"))
    with pytest.raises(InputError, match=r"1 of 4 rows are incomplete: .* \(b.jsonl line 2\)"):
        read_table(DataConfig(data=files))
    table = read_table(DataConfig(data=files, skip_incomplete=True))
    assert columns(table) == (["a", "b", "c"], ["0", "1", "1"], None)
    assert table.account.name == "a.csv+1"
    table = read_table(DataConfig(data=(files[0], f"{files[1]}:Test"), skip_incomplete=True))
    assert table.splits == ["train", "train", "test"]
    with pytest.raises(InputError, match="--split-column: files are named with their splits"):
        read_table(DataConfig(data=(files[0], f"{files[1]}:test"), split_column="part"))


def test_an_unknown_split(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [("x", "pos", " Training "), ("y", "pos", "tets")])
    assert "line 3: unknown split 'tets'; did you mean test?" in refused(path, split_column="part")
    path = write(tmp_path / "t.csv", [("x", "pos", "train"), ("y", "pos", "")])
    assert "1 without a split (line 3)" in refused(path, split_column="part")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": 5, "label": 1}', "line 1: the text is not a string, it is 5; name the texts'"),
        ('{"text": "x", "label": [1]}', "line 1: the label is neither a string nor a number"),
        ('{"text": "x", "label": {"a": 1}}', "line 1: the label is neither"),
    ],
)
def test_values_of_other_types(content: str, message: str, tmp_path: Path) -> None:
    assert message in refused(tmp_path / "t.jsonl", content)


def test_a_column_has_one_role(tmp_path: Path) -> None:
    for options in ({"label_column": "text"}, {"text_column": ("a", "a")}):
        with pytest.raises(InputError, match="is named for two things"):
            read(tmp_path / "t.csv", **options)


def test_settings_that_no_file_goes_by_are_refused(tmp_path: Path) -> None:
    for name, options, message in [
        ("t.jsonl", {"delimiter": ";"}, "--delimiter is for .csv, .tsv, .txt"),
        ("t.parquet", {"no_header": True}, "--no-header is for .csv"),
        ("t.json.gz", {"quoting": "none"}, "--quoting is for .csv"),
        ("t.parquet", {"encoding": "cp1252"}, "--encoding is for files of text"),
    ]:
        with pytest.raises(InputError, match=message):
            read(tmp_path / name, **options)


def test_a_file_that_is_not_there_or_of_no_kind(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "t.csv")
    assert "unknown kind of file '.xlsx', it must end in .csv, .tsv" in refused(tmp_path / "t.xlsx")
    assert "unknown kind of file ''" in refused(tmp_path / "reviews.gz")
    assert "there are no rows" in refused(tmp_path / "t.csv", "text,label\n")
    assert "there are no rows" in refused(tmp_path / "t.csv", "")
    assert "there are no rows" in refused(tmp_path / "t.json", "[]")
    message = refused(tmp_path / "t.csv", "text,label\n,\n", skip_incomplete=True)
    assert "no rows are left; t.csv: 1 rows read, 1 skipped: 1 without a text" in message


def test_compressed_files_are_read_by_their_endings(tmp_path: Path) -> None:
    plain = write(tmp_path / "t.parquet", ROWS)
    (tmp_path / "u.parquet.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert columns(read(tmp_path / "u.parquet.gz")) == columns(read(plain))


def test_rows_that_the_second_count_misses_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "x", "label": 1}\n{"text": "y", "label": 0}\n')

    def lossy(path: Path, text: str, wanted: dict[str, str]) -> RawTable:
        table = RawTable.of("line", list(wanted))
        table.add(1, ["x", 1])
        table.counted = 2
        return table

    monkeypatch.setattr(readers.json_rows, "read_json", lossy)
    assert "1 rows were read, but 2 are counted in the file" in refused(tmp_path / "t.jsonl")
