"""Delimited files (CSV, TSV and the like): rows by Python's csv module, checked against the lines.

csv in strict mode reads what the format defines, says in which line it failed, and takes no value
for a missing one. What it can't know is whether a quotation mark that opens in one line and closes
in a later one is meant: rows in between would be read as one field. Those are found by their looks.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sentiment.data.columns import RawTable, no_columns
from sentiment.data.config import DELIMITERS, DataConfig
from sentiment.data.labels import normal_label
from sentiment.errors import InputError

ENDINGS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
"""Endings of delimited files, and the delimiter that each is first taken to have."""

_NAMES = {character: name for name, character in reversed(DELIMITERS.items())}
_CANDIDATES = (",", ";", "\t", "|")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_SAMPLE = 50
_SAMPLE_LENGTH = 1 << 20


def read_delimited(
    path: Path,
    text: str,
    ending: str,
    wanted: Mapping[str, str],
    label: str | None,
    config: DataConfig,
) -> RawTable:
    """Read the wanted columns of a delimited file.

    Args:
        path: the file, for messages.
        text: its content.
        ending: of the file's name, which says what the delimiter should be.
        wanted: columns, with the flags that name them.
        label: the column of the labels; None where there are none: then a quotation mark that
            swallows rows can't be told from a text of several lines.
        config: delimiter, quoting and the like.

    Raises:
        InputError: a column is not there or is repeated, a row has too few or too many fields
            or can't be read, or a quotation mark seems to swallow rows.
    """
    with _long_fields():
        delimiter = _delimiter(text, ENDINGS[ending], list(wanted), config)
        dialect = _Dialect(delimiter, config)
        table = RawTable.of("line", list(wanted))
        if delimiter != ENDINGS[ending] and config.delimiter is None:
            table.form.append(f"delimiter {_named(delimiter)}")
        spans = _read_rows(path, text, wanted, label, config, dialect, table)
        if spans:
            table.form.append(f"{len(spans):,} of them over several lines")
        if config.quoting == "auto" and spans and label is not None:
            _check_swallowed(path, text, spans, table.values[label], dialect)
    return table


class _Dialect:
    """How the fields of a file are separated and quoted.

    Attributes:
        delimiter: one character.
        fields: of a row; known when the first row has been read.
        label_index: which of them is the label; from the end where it comes after the texts, which
            may hold delimiters.
    """

    def __init__(self, delimiter: str, config: DataConfig) -> None:
        self.delimiter = delimiter
        self._options: dict[str, Any] = {
            "delimiter": delimiter,
            "quoting": csv.QUOTE_NONE if config.quoting == "none" else csv.QUOTE_MINIMAL,
            "quotechar": None if config.quoting == "none" else '"',
            "escapechar": config.escape,
            "strict": True,
        }
        self.fields = 0
        self.label_index = 0

    def reader(self, text: str) -> Any:
        """Return csv's reader of a text, whose type has no public name."""
        return csv.reader(io.StringIO(text, newline=""), **self._options)


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(2**31 - 1)  # its default is less than a long text
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_rows(
    path: Path,
    text: str,
    wanted: Mapping[str, str],
    label: str | None,
    config: DataConfig,
    dialect: _Dialect,
    table: RawTable,
) -> list[tuple[int, int, int]]:
    """Add the rows to the table, and count them by the lines of the text.

    Returns:
        Of each row of several lines: its index, its first line and its last.
    """
    lines = dialect.reader(text)
    header: list[str] | None = None
    indices: list[int] = []
    spans: list[tuple[int, int, int]] = []
    first = 1
    beside = 0  # lines that are no rows: the header, blank ones, line breaks within fields
    try:
        for row in lines:
            number, last = first, lines.line_num
            first = last + 1
            if not row:
                beside += 1
                continue
            if last > number:
                beside += sum(len(_LINE_BREAK.findall(field)) for field in row)
            if header is None:
                header = [str(n) for n in range(1, len(row) + 1)] if config.no_header else row
                indices = _indices(path, header, wanted, config)
                dialect.fields = len(header)
                if label is not None:
                    dialect.label_index = header.index(label)
                    if dialect.label_index > header.index(config.text_column[0]):
                        dialect.label_index -= len(header)
                if not config.no_header:
                    beside += 1
                    continue
            if len(row) != len(header):
                raise InputError(_uneven(path, number, len(row), len(header), config, dialect))
            if last > number:
                spans.append((len(table.numbers), number, last))
            table.add(number, [row[index] for index in indices])
    except csv.Error as error:
        raise InputError(_unreadable(path, first, error, text, config)) from error
    table.counted = _count_lines(text) - beside
    return spans


def _count_lines(text: str) -> int:
    breaks = text.count("\n") + text.count("\r") - text.count("\r\n")
    return breaks + (not text.endswith(("\n", "\r")) and text != "")


def _indices(
    path: Path, header: Sequence[str], wanted: Mapping[str, str], config: DataConfig
) -> list[int]:
    for column in wanted:
        if header.count(column) > 1:
            raise InputError(f"{path}: there are two columns {column!r}; name one of them anew")
    missing = [column for column in wanted if column not in header]
    if missing:
        hint = "" if config.no_header else "; if the first row is data: --no-header"
        if len(header) == 1:
            hint += "; if the columns are not separated: --delimiter"
        raise InputError(f"{path}: {no_columns(wanted, missing, header, hint)}")
    return [header.index(column) for column in wanted]


def _uneven(
    path: Path, number: int, fields: int, expected: int, config: DataConfig, dialect: _Dialect
) -> str:
    than = "the first row" if config.no_header else "the header"
    hint = ""
    if config.quoting != "none":
        hint = (
            "; a field that holds a delimiter or a line break must stand in quotes, or is "
            "--delimiter or --escape wrong? --quoting none: quotation marks are text"
        )
    return (
        f"{path}, line {number}: {fields} fields (delimiter {_named(dialect.delimiter)}), but "
        f"{than} has {expected}{hint}"
    )


def _unreadable(path: Path, line: int, error: Exception, text: str, config: DataConfig) -> str:
    if config.quoting == "none":
        hint = "--escape may be wrong"
    elif config.escape is None and '\\"' in text:
        hint = "are quotation marks escaped by a backslash? --escape '\\'"
    else:
        hint = "is a quotation mark missing? If the marks are text: --quoting none"
    return f"{path}, line {line}: the row can't be read ({error}); {hint}"


def _delimiter(text: str, usual: str, columns: Sequence[str], config: DataConfig) -> str:
    """Return the delimiter that is given, or the one under which the columns are there."""
    if config.delimiter is not None:
        return DELIMITERS.get(config.delimiter.lower(), config.delimiter)
    candidates = [usual, *(each for each in _CANDIDATES if each != usual)]
    samples = {each: _sample(text, _Dialect(each, config)) for each in candidates}
    if config.no_header:
        # What divides all rows alike.
        even = [each for each, rows in samples.items() if len({len(row) for row in rows}) == 1]
        return max(even, key=lambda each: min(len(samples[each][0]), 2), default=usual)
    for each, rows in samples.items():
        if rows and set(columns) <= set(rows[0]):
            return each
    return max(candidates, key=lambda each: len(samples[each][0]) if samples[each] else 0)


def _sample(text: str, dialect: _Dialect) -> list[list[str]]:
    rows: list[list[str]] = []
    start = text[:_SAMPLE_LENGTH]
    try:
        for row in dialect.reader(start):
            if row:
                rows.append(row)
            if len(rows) == _SAMPLE:
                break
    except csv.Error:
        pass  # it is another delimiter, or the reading proper says what is wrong
    # The last row may be a part of one.
    return rows[:-1] if len(start) < len(text) and 1 < len(rows) < _SAMPLE else rows


def _named(delimiter: str) -> str:
    return _NAMES.get(delimiter, repr(delimiter))


def _check_swallowed(
    path: Path,
    text: str,
    spans: Sequence[tuple[int, int, int]],
    labels: Sequence[str],
    dialect: _Dialect,
) -> None:
    """Refuse a row of several lines of which two or more look like whole rows.

    A text with line breaks has its label in one of its lines. Where a stray quotation mark has
    made one field of many rows, the lines still have the fields of a row each, and a label.
    """
    known = {normal_label(label) for label in labels}
    lines = _LINE_BREAK.split(text)
    for _, first, last in spans:
        alike = 0
        for line in lines[first - 1 : last]:
            fields = line.split(dialect.delimiter)
            if len(fields) >= dialect.fields:
                alike += normal_label(fields[dialect.label_index].strip().strip('"')) in known
        if alike > 1:
            raise InputError(
                f"{path}, line {first}: a quotation mark makes one row of the lines {first} to "
                f"{last}, of which {alike} look like rows of their own; --quoting none: marks are "
                "text, --quoting standard: it is one row"
            )
