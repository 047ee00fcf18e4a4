from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from sentiment.data.config import DataConfig
from sentiment.data.tables import Table, read_table
from sentiment.errors import InputError


def read(path: Path, **options: Any) -> Table:
    return read_table(DataConfig(data=str(path), **options))


def refused(path: Path, content: bytes | None = None, **options: Any) -> str:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(path, **options)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_integers_with_categories(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    text = pa.array(["x", "y", "x"]).dictionary_encode()
    pq.write_table(pa.table({"text": text, "label": [0, 1, 0], "other": [[], [1], []]}), path)
    table = read(path)
    assert (table.texts, table.labels) == (["x", "y", "x"], ["0", "1", "0"])


def test_structs_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    review = pa.array([{"text": "a", "stars": 1}, None, {"text": "c", "stars": 2}])
    raw = pa.array([b"d", "é".encode(), b"f"])
    pq.write_table(pa.table({"review": review, "raw": raw}), path)
    options = {"text_column": "review.text", "label_column": "review.stars"}
    assert read(path, **options, skip_incomplete=True).texts == ["a", "c"]
    assert "1 of 3 rows are incomplete: 1 without a text (row 2)" in refused(path, **options)
    table = read(path, text_column="raw", label_column="review.stars", skip_incomplete=True)
    assert table.texts == ["d", "f"]
    message = refused(path, text_column="text", label_column="review.stars")
    assert "did you mean 'review.text'? Give --text-column review.text" in message


def test_a_wrong_file(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": ["x", None], "label": [1, 2]}), path)
    whole = path.read_bytes()
    assert "1 of 2 rows are incomplete: 1 without a text (row 2)" in refused(path)
    assert "no column 'stars'; the columns are 'text', 'label'" in refused(
        path, label_column="stars"
    )
    assert "can't be read as Parquet" in refused(path, whole[:-20])
    assert "can't be read as Parquet" in refused(path, whole[:4] + bytes(40) + whole[44:])
    assert "can't be read as Parquet" in refused(path, b"")
    torn = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")]
    )
    pq.write_table(pa.table({"text": torn, "label": [1, 2]}), path)
    assert "row 2: not UTF-8" in refused(path)
    twice = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["text", "text"])
    pq.write_table(twice.append_column("label", pa.array([1])), path)
    assert "two columns 'text'" in refused(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as Spark writes it, with partitions by label."""
    folder = tmp_path / "reviews"
    table = pa.table({"text": [f"film {i}" for i in range(6)], "label": [0, 1, 0, 1, 0, 1]})
    ds.write_dataset(
        table,
        folder,
        format="parquet",
        partitioning=ds.partitioning(pa.schema([("label", pa.int64())]), flavor="hive"),
        basename_template="part-{i}.snappy.parquet",
    )
    (folder / "_SUCCESS").touch()
    (folder / "label=0" / ".part-0.snappy.parquet.crc").write_bytes(b"crc")
    return folder


def test_a_folder_with_partitions(folder: Path) -> None:
    table = read(folder)
    assert table.texts == [f"film {i}" for i in (0, 2, 4, 1, 3, 5)]
    assert table.labels == ["0"] * 3 + ["1"] * 3
    assert table.account.name == "reviews"
    assert table.account.read == 6


def test_a_folder_of_parts(tmp_path: Path) -> None:
    for part in range(3):
        rows = {"text": [f"{part} {i}" for i in range(2)], "label": ["a", "b"]}
        pq.write_table(pa.table(rows), tmp_path / f"part-{part}.parquet")
    (tmp_path / "README.md").write_text("no data")
    assert read(tmp_path).texts == ["0 0", "0 1", "1 0", "1 1", "2 0", "2 1"]
    (tmp_path / "part-1.parquet").write_bytes(b"PAR1 torn PAR1")
    with pytest.raises(InputError, match=r"part-1\.parquet: can't be read as Parquet"):
        read(tmp_path)


def test_folders_that_are_something_else(folder: Path, tmp_path: Path) -> None:
    assert "no column 'stars'" in refused(folder, label_column="stars")
    (folder / "_temporary").mkdir()
    assert "not complete, it holds _temporary" in refused(folder)
    (folder / "_delta_log").mkdir()
    assert "a Delta table, whose log says which files count" in refused(folder)
    (tmp_path / "empty").mkdir()
    assert "a folder without .parquet files" in refused(tmp_path / "empty")
