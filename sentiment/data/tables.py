"""The user's own tables of texts, whatever their form. Errors name the file and the row.

Every row is accounted for: it is read, refused, or left out with a count of why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentiment.data.columns import MISSING, RawTable
from sentiment.data.config import DataConfig, flag
from sentiment.data.labels import (
    LabelMap,
    check_lookalikes,
    is_none,
    memoized,
    normal_label,
    spelling,
)
from sentiment.data.readers import check_flags, read_source
from sentiment.data.sources import Source, common_name, find_sources, split_name
from sentiment.data.values import is_blank, joined
from sentiment.errors import InputError
from sentiment.io.encodings import is_unicode

_BY_MAP = "by --label-map"
HALF = "with half a surrogate pair, which is no character"
"""Why a text is left out that can't be written in UTF-8."""
NO_TEXT = "without a text"
"""Why a row is left out that has none, or white space alone."""

_PLACES = 3
"""Rows that a message names of each kind."""


@dataclass
class Account:
    """What became of the rows of a table.

    Attributes:
        name: what the data set is called: the first file, and how many more there are.
        where: the first file's path, for messages.
        read: rows that the files have.
        kept: rows whose texts are used.
        left_out: rows that are not, by the reason.
        form: what was detected in the files, or differs from the usual.
        spellings: how the files write each label, and how often.
    """

    name: str
    where: str
    read: int = 0
    kept: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    form: list[str] = field(default_factory=list)
    spellings: dict[str, Counter[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        form = f" ({', '.join(dict.fromkeys(self.form))})" if self.form else ""
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())
        skipped = f"{self.left_out.total():,} skipped{f': {reasons}' if reasons else ''}"
        return f"{self.name}: {self.read:,} rows read{form}, {skipped}"


@dataclass(frozen=True)
class Table:
    """Columns of equal length.

    Attributes:
        texts: none of them blank.
        labels: in their normal form or under the names of the label map, none of them blank.
        splits: `train`, `valid` or `test` for each text; None if it is not given.
        groups: what must stay together, None for a text of no group; None without a column.
        account: what became of the rows.
    """

    texts: list[str]
    labels: list[str]
    splits: list[str] | None
    account: Account
    groups: list[str | None] | None = None


def read_table(config: DataConfig) -> Table:
    """Read the files of `config.data` into one table.

    Raises:
        InputError: a file can't be read, is incomplete or of another format than declared; a
            column is missing; a text or label is missing, unless such rows are left out; a split
            has an unknown name; labels look like one written in two ways.
    """
    assert config.data is not None
    _check_columns(config)
    sources = find_sources(config.data)
    check_flags(config, sources, find_sources(config.unlabelled or (), flag("unlabelled")))
    rows = _Rows(config, sources)
    for source in sources:
        for path, raw in read_source(source, config):
            rows.add(path, raw, source.split)
    return rows.table()


def check_counted(path: Path, raw: RawTable) -> None:
    """Refuse a file of which the parser did not read all rows.

    Raises:
        InputError: it did not.
    """
    if len(raw.numbers) != raw.counted:
        raise InputError(
            f"{path}: {len(raw.numbers):,} rows were read, but {raw.counted:,} are counted in "
            "the file; is it damaged, or are --delimiter, --quoting or --escape wrong?"
        )


def _check_columns(config: DataConfig) -> None:
    columns = [*config.text_column, config.label_column]
    columns += [each for each in (config.split_column, config.group_column) if each is not None]
    for column in columns:
        if columns.count(column) > 1:
            raise InputError(f"the column {column!r} is named for two things; name each once")


class _Rows:
    """Gathers the rows of the files, and those that are incomplete."""

    def __init__(self, config: DataConfig, sources: Sequence[Source]) -> None:
        self._config = config
        first = str(sources[0].path)
        more = len(sources) - 1
        self.where = f"{first} and {more} more" if more else first
        self.account = Account(common_name(sources), self.where)
        self._map = LabelMap.parse(config.label_map)
        self._label = memoized(self._read_label)
        self._texts: list[str] = []
        self._labels: list[str] = []
        self._splits: list[str] = []
        self._groups: list[str | None] = []
        self._found: set[str] = set()
        self._incomplete: dict[str, list[str]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, path: Path, raw: RawTable, split: str | None) -> None:
        """Take the rows of a file.

        Raises:
            InputError: a row can't be used, or not all were read.
        """
        check_counted(path, raw)
        config = self._config
        self.account.read += raw.counted
        self.account.form += raw.form
        parts = list(zip(*(raw.values[name] for name in config.text_column), strict=True))
        splits = raw.values[config.split_column] if config.split_column is not None else []
        groups = raw.values[config.group_column] if config.group_column is not None else []
        for row, number in enumerate(raw.numbers):
            try:
                problem = self._add_row(
                    parts[row],
                    raw.values[config.label_column][row],
                    splits[row] if splits else split,
                    spelling(None if groups[row] is MISSING else groups[row]) if groups else None,
                )
            except ValueError as error:
                raise InputError(f"{path}, {raw.unit} {number}: {error}") from error
            if problem is not None:
                several = self.where != str(path)
                place = f"{path.name} {raw.unit} {number}" if several else f"{raw.unit} {number}"
                self._leave_out(problem, place)

    def _add_row(
        self, parts: tuple[Any, ...], label: Any, split: Any, group: str | None
    ) -> str | None:
        """Add a row, or return what it lacks."""
        text = joined(parts)
        written, name, problem = self._label(label)
        if problem == _BY_MAP:
            self.account.left_out[problem] += 1
            return None
        if text is None:
            return NO_TEXT
        if problem is not None:
            return problem
        if not is_unicode(text):
            return HALF
        if self._config.split_column is not None:
            if is_blank(split):
                return "without a split"
            if not isinstance(split, str):
                raise ValueError(f"unknown split {split!r:.60}; give names such as train and test")
            split = split_name(split)
        self._texts.append(text)
        self._labels.append(name)
        self._groups.append(group or None)
        self._counts[name, written] += 1
        if split is not None:
            self._splits.append(split)
        return None

    def _read_label(self, value: Any) -> tuple[str, str, str | None]:
        """Return a label as it is written, its name, and why its row can't be used, if so."""
        written = spelling(None if value is MISSING else value)
        if written is None:
            return "", "", "without a label"
        found = normal_label(written)
        self._found.add(found)
        name = self._map.names.get(found, found)
        problem = None
        if name is None:
            problem = _BY_MAP
        elif found not in self._map.names and is_none(written):
            problem = f"with the label {written!r}" if written else "without a label"
        elif not is_unicode(name):
            problem = HALF
        return written, name or "", problem

    def _leave_out(self, problem: str, place: str) -> None:
        self.account.left_out[problem] += 1
        places = self._incomplete.setdefault(problem, [])
        if len(places) < _PLACES:
            places.append(place)

    def table(self) -> Table:
        """Return the rows as one table.

        Raises:
            InputError: there are none, some are incomplete, or labels look alike.
        """
        account, config = self.account, self._config
        account.kept = len(self._texts)
        if not account.read:
            raise InputError(f"{self.where}: there are no rows")
        if self._incomplete and not config.skip_incomplete:
            raise InputError(self._refusal())
        column = f"{self.where}: column {config.label_column!r}"
        self._map.check_used(column, self._found)
        if not account.kept:
            raise InputError(f"{self.where}: no rows are left; {account}")
        for (name, written), count in self._counts.items():
            account.spellings.setdefault(name, Counter())[written] += count
        totals = Counter({name: each.total() for name, each in account.spellings.items()})
        check_lookalikes(column, totals, self._map.kept_apart())
        groups = None if config.group_column is None else self._groups
        return Table(self._texts, self._labels, self._splits or None, account, groups)

    def _refusal(self) -> str:
        reasons = []
        total = 0
        for reason, places in self._incomplete.items():
            count = self.account.left_out[reason]
            total += count
            more = ", …" if count > len(places) else ""
            reasons.append(f"{count:,} {reason} ({', '.join(places)}{more})")
        named = [r for r in self._incomplete if r.startswith("with the label")]
        text = (
            f"{self.where}: {total:,} of {self.account.read:,} rows are incomplete: "
            f"{', '.join(reasons)}\nfill them in, or --skip-incomplete leaves them out"
        )
        if named:
            label = named[0].removeprefix("with the label ")
            text += (
                f"; {label} counts as a missing label, unless --label-map {label[1:-1]}="
                f"{label[1:-1]} says that it is one"
            )
        return text
