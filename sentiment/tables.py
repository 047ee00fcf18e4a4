"""The user's own table of texts: CSV, TSV, JSONL or Parquet. Errors name the file and the row."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment.errors import InputError
from sentiment.wording import counted

_SPLIT_NAMES = {
    "train": "train",
    "valid": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
}

# Rows in the order of the file, each with the words that say where it stands.
Rows = Iterator[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Table:
    """Columns of equal length.

    Attributes:
        texts: none of them blank.
        labels: as strings, none of them blank.
        splits: `train`, `valid` or `test` for each text; None if there is no such column.
    """

    texts: list[str]
    labels: list[str]
    splits: list[str] | None


def read_table(
    path: Path, text_column: str, label_column: str, split_column: str | None = None
) -> Table:
    """Read a table by the columns that hold its texts, labels and, if named, splits.

    Raises:
        InputError: the file can't be read or is torn, a column is missing, a text is empty or
            not a string, a label is missing, a split has an unknown name.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise InputError(
            f"{path}: unknown kind of file {path.suffix!r}, it must end in {', '.join(_READERS)}"
        )
    texts, labels, splits = [], [], []
    columns = [text_column, label_column, *([split_column] if split_column else [])]
    for place, row in read(path, columns):
        for column in columns:
            if column not in row:
                raise InputError(_no_column(f"{path}, {place}", column, row))
        try:
            texts.append(_text(row[text_column]))
            labels.append(_label(row[label_column]))
            if split_column:
                splits.append(_split(row[split_column]))
        except ValueError as error:
            raise InputError(f"{path}, {place}: {error}") from error
    if not texts:
        raise InputError(f"{path}: there are no rows")
    return Table(texts, labels, splits if split_column else None)


def _text(value: Any) -> str:
    if value is None:
        raise ValueError("the text is missing")
    if not isinstance(value, str):
        raise ValueError(f"the text is not a string, it is {value!r:.60}")
    if not value.strip():
        raise ValueError("the text is empty; fill it in or remove the row")
    return value


def _label(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of integers with a gap arrives as floats
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise ValueError("the label is missing")
    if not isinstance(value, str | int | float):
        raise ValueError(f"the label is neither a string nor a number, it is {value!r:.60}")
    label = str(value).strip()
    if not label:
        raise ValueError("the label is missing")
    return label


def _split(value: Any) -> str:
    name = _SPLIT_NAMES.get(value.strip().lower()) if isinstance(value, str) else None
    if name is None:
        raise ValueError(f"unknown split {value!r:.60}; there are {', '.join(_SPLIT_NAMES)}")
    return name


def _no_column(place: str, column: str, row: Mapping[str, Any]) -> str:
    columns = ", ".join(map(repr, row))
    return f"{place}: there is no column {column!r}; the columns are {columns:.500}"


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from error


def _read_text(path: Path) -> str:
    data = _read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line}: not UTF-8 (byte {error.object[error.start]:#04x}); "
            "save the file as UTF-8"
        ) from error


def _read_separated(separator: str) -> Callable[[Path, list[str]], Rows]:
    def read(path: Path, columns: list[str]) -> Rows:
        lines = csv.reader(
            io.StringIO(_read_text(path), newline=""), delimiter=separator, strict=True
        )
        header: list[str] | None = None
        before = csv.field_size_limit(2**31 - 1)  # its default is less than a long text
        first_line = 1
        try:
            for row in lines:
                place, first_line = f"line {first_line}", lines.line_num + 1
                if not row:
                    continue
                if header is None:
                    header = row
                    for column in columns:
                        if header.count(column) > 1:
                            raise InputError(f"{path}: there are two columns {column!r}")
                        if column not in header:
                            raise InputError(_no_column(str(path), column, dict.fromkeys(header)))
                elif len(row) != len(header):
                    raise InputError(
                        f"{path}, {place}: {counted(len(row), 'field')}, but the header has "
                        f"{len(header)}; "
                        "a field that holds a separator or a line break must stand in quotes"
                    )
                else:
                    yield place, dict(zip(header, row, strict=True))
        except csv.Error as error:
            raise InputError(
                f"{path}, line {first_line}: the row can't be read ({error}); "
                "is a quotation mark missing?"
            ) from error
        finally:
            csv.field_size_limit(before)

    return read


def _read_jsonl(path: Path, _columns: list[str]) -> Rows:
    # Not splitlines(): JSON strings may hold U+2028 and its like.
    for number, line in enumerate(_read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: not a JSON object but {line.strip():.60}")
        yield f"line {number}", row


def _read_parquet(path: Path, columns: list[str]) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(_read_bytes(path)))
        names = file.schema_arrow.names
        for column in columns:
            if column not in names:
                raise InputError(_no_column(str(path), column, dict.fromkeys(names)))
        table = file.read(columns=columns)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: can't be read as Parquet ({reason:.200})") from error
    values = {column: iter(table.column(column)) for column in columns}
    for number in range(1, table.num_rows + 1):
        try:
            yield f"row {number}", {column: next(values[column]).as_py() for column in columns}
        except UnicodeDecodeError as error:
            raise InputError(f"{path}, row {number}: not UTF-8") from error


_READERS: dict[str, Callable[[Path, list[str]], Rows]] = {
    ".csv": _read_separated(","),
    ".tsv": _read_separated("\t"),
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
