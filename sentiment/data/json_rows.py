"""Objects of a JSON file: an array of them, or one a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sentiment.data.columns import MISSING, RawTable, dotted_names, nested, no_columns
from sentiment.errors import InputError

ENDINGS = (".json", ".jsonl", ".ndjson")

_ARRAY = re.compile(r"\s*\[")
_LOOKED_AT = 100
_FORM = "an object a line, or one array of objects, is read"


def read_json(path: Path, text: str, wanted: Mapping[str, str]) -> RawTable:
    """Read the wanted fields of the objects, by dotted names from within nested ones.

    Args:
        path: the file, for messages.
        text: its content.
        wanted: fields, with the flags that name them.

    Raises:
        InputError: the file is not JSON of this form, or no object has one of the fields.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_once_each(wanted))
    if _ARRAY.match(text):
        table, rows = _read_array(path, text, list(wanted), decoder)
    else:
        table, rows = _read_lines(path, text, list(wanted), decoder)
    missing = [
        name for name, values in table.values.items() if all(value is MISSING for value in values)
    ]
    if missing and table.numbers:
        known = dict.fromkeys(name for row in rows for name in dotted_names(row))
        raise InputError(f"{path}: {no_columns(wanted, missing, known)}")
    return table


def _once_each(names: Iterable[str]) -> Any:
    """Return a hook that refuses an object in which a wanted field is repeated."""
    parts = {part for name in names for part in (name, *name.split("."))}

    def to_dict(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = [key for key in fields if keys.count(key) > 1 and key in parts]
            if twice:
                raise ValueError(f"the field {twice[0]!r} stands twice in one object")
        return fields

    return to_dict


def _read_lines(
    path: Path, text: str, columns: Sequence[str], decoder: json.JSONDecoder
) -> tuple[RawTable, list[dict[str, Any]]]:
    """Return the wanted fields, and the first objects as they are."""
    table = RawTable.of("line", columns)
    rows: list[dict[str, Any]] = []
    # Not splitlines(): JSON strings may hold U+2028 and its like.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = decoder.decode(line)
        except (ValueError, RecursionError) as error:
            hint = f"; {_FORM}" if number == 1 else ""
            raise InputError(f"{path}, line {number}: not JSON ({error}){hint}") from error
        if not isinstance(row, dict):
            raise InputError(
                f"{path}, line {number}: not a JSON object but {line.strip():.60}; {_FORM}"
            )
        table.add(number, [nested(row, column) for column in columns])
        if len(rows) < _LOOKED_AT:
            rows.append(row)
    table.counted = len(re.findall(r"^.*\S.*$", text, re.MULTILINE))
    return table, rows


def _read_array(
    path: Path, text: str, columns: Sequence[str], decoder: json.JSONDecoder
) -> tuple[RawTable, list[dict[str, Any]]]:
    """Return the wanted fields, and the first objects as they are."""
    table = RawTable.of("object", columns)
    try:
        rows = decoder.decode(text)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        raise InputError(f"{path}, line {line}: not JSON ({error}); {_FORM}") from error
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise InputError(f"{path}, object {number}: not an object but {row!r:.60}; {_FORM}")
        table.add(number, [nested(row, column) for column in columns])
    table.counted = len(rows)
    table.form.append("a JSON array")
    return table, rows[:_LOOKED_AT]
