"""Columns of a user's file: what the readers return, and names of columns that are not there."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from sentiment.data.config import DataConfig, flag


class _Missing:
    """The value of a column that a row lacks."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()
_SHOWN = 500


@dataclass
class RawTable:
    """The wanted columns of one file, as read.

    Attributes:
        unit: what the numbers count: `line`, `row` or `object`.
        values: of each wanted column, one a row; `MISSING` where a row does not have it.
        numbers: the place of each row, from 1.
        counted: rows of the file by a second count, which does not go by the parser.
        form: what was detected or differs from the usual, for people.
    """

    unit: str
    values: dict[str, list[Any]]
    numbers: list[int] = field(default_factory=list)
    counted: int = 0
    form: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, unit: str, columns: Sequence[str]) -> RawTable:
        """Return a table without rows."""
        return cls(unit, {column: [] for column in columns})

    def add(self, number: int, row: Sequence[Any]) -> None:
        """Add a row: its values in the order of the columns."""
        self.numbers.append(number)
        for column, value in zip(self.values.values(), row, strict=True):
            column.append(value)


def wanted_columns(config: DataConfig, labelled: bool = True) -> dict[str, str]:
    """Return the columns that are read, each with the flag that names it.

    Args:
        config: names the columns.
        labelled: whether those of labels, splits and groups are among them.
    """
    columns = dict.fromkeys(config.text_column, flag("text_column"))
    if not labelled:
        return columns
    columns[config.label_column] = flag("label_column")
    if config.split_column is not None:
        columns[config.split_column] = flag("split_column")
    if config.group_column is not None:
        columns[config.group_column] = flag("group_column")
    return columns


def nested(row: Mapping[str, Any], name: str) -> Any:
    """Return a field by its name, or by a dotted one from within nested objects.

    `MISSING` if the row does not have it.
    """
    if name in row:
        return row[name]
    found: Any = row
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return MISSING
        found = found[part]
    return found


def dotted_names(row: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the names of a row's fields, of those within objects the dotted ones."""
    for name, value in row.items():
        if isinstance(value, Mapping) and value and prefix.count(".") < 8:
            yield from dotted_names(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


_SIMILAR = 0.7
"""Likeness from which a column is suggested: `ticket` for `text` would have ids for texts."""


def no_columns(
    wanted: Mapping[str, str], missing: Sequence[str], known: Iterable[str], hint: str = ""
) -> str:
    """Word the error for columns that a file does not have.

    Args:
        wanted: all columns that are read, with their flags.
        missing: those that are not there.
        known: the columns of the file.
        hint: what else may be wrong, such as a flag to try.
    """
    names = list(dict.fromkeys(known))
    plural = "columns" if len(missing) > 1 else "column"
    verb = "are" if len(missing) > 1 else "is"
    text = f"there {verb} no {plural} {' and '.join(map(repr, missing))}"
    close = {name: _nearest(name, names) for name in missing}
    found = {name: near for name, near in close.items() if near is not None}
    if found:
        flags = " ".join(f"{wanted[name]} {shlex.quote(near)}" for name, near in found.items())
        text += f"; did you mean {' and '.join(map(repr, found.values()))}? Give {flags}"
    shown = ", ".join(map(repr, names))
    text += f"; the columns are {shown[:_SHOWN]}{' …' if len(shown) > _SHOWN else ''}"
    if len(found) < len(missing):
        flags = " and ".join(dict.fromkeys(wanted[name] for name in missing if name not in found))
        text += f": name one by {flags}{hint}"
    return text


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """Return the name that differs in case, blanks or nesting alone, or else a similar one."""

    def folded(text: str) -> str:
        return "".join(text.split()).casefold()

    for key in (str.strip, folded, lambda text: folded(text).rpartition(".")[2]):
        same = [other for other in known if key(other) == key(name)]
        if same:
            return same[0]
    by_key = {other.strip().casefold(): other for other in reversed(known)}
    close = get_close_matches(name.strip().casefold(), by_key, n=1, cutoff=_SIMILAR)
    return by_key[close[0]] if close else None
