"""Labels of a user's file: by value, under names of the user's choice, or missing.

A class has a *name*, the normal form of what the file says; what the file says is its *spelling*.
"""

from __future__ import annotations

import csv
import math
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from sentiment.config import unknown_name
from sentiment.data import imdb
from sentiment.errors import InputError

_NUMBER = re.compile(r"(?P<sign>[+-]?)(?P<whole>0|[1-9][0-9]*)(?:\.(?P<part>[0-9]*))?")
_NONE = frozenset(
    ("", "nan", "-nan", "null", "none", "na", "n/a", "<na>", "#na", "#n/a", "nat", "(null)")
)
_SHOWN = 10
_SPELLINGS = 3


def normal_label(text: str) -> str:
    """Return a label without blanks around it; a decimal number by its value: 1.0 becomes 1."""
    text = text.strip()
    found = _NUMBER.fullmatch(text)
    if found is None:
        return text
    part = (found["part"] or "").rstrip("0")
    number = f"{found['whole']}.{part}" if part else found["whole"]
    return f"-{number}" if found["sign"] == "-" and number != "0" else number


def spelling(value: Any) -> str | None:
    """Return a label as the file writes it, without blanks around; None where it has none.

    Raises:
        ValueError: it is neither a string nor a number.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, Decimal) and value.is_finite():
        value = format(value, "f")
    if isinstance(value, float) and value.is_integer() and abs(value) >= 1e16:
        value = int(value)  # without an exponent
    if not isinstance(value, str | int | float):
        raise ValueError(f"the label is neither a string nor a number, it is {value!r:.60}")
    return str(value).strip()


def is_none(text: str) -> bool:
    """Whether a label is empty or one of the words that programs write for a missing value."""
    return text.casefold() in _NONE


@dataclass(frozen=True)
class LabelMap:
    """Names for labels, as `--label-map` gives them.

    Attributes:
        names: the new name of each label by its normal form; None leaves its rows out.
    """

    names: Mapping[str, str | None]

    @classmethod
    def parse(cls, entries: Iterable[str]) -> LabelMap:
        """Read entries such as `0=neg,4=pos`; one with a comma is in quotes.

        Raises:
            InputError: an entry is no pair, or names a label twice.
        """
        names: dict[str, str | None] = {}
        for entry in entries:
            for pair in next(csv.reader([entry], skipinitialspace=True), []):
                old, equals, new = pair.rpartition("=")
                old, new = normal_label(old), normal_label(new)
                if not equals or not old:
                    raise InputError(
                        f"--label-map {entry}: {pair!r} is not OLD=NEW; write 0=neg,4=pos"
                    )
                if old in names and names[old] != (new or None):
                    raise InputError(f"--label-map {entry}: {old!r} is named twice")
                names[old] = new or None
        return cls(names)

    def kept_apart(self) -> frozenset[str]:
        """Return the labels that are named as they are, to say that they are meant."""
        return frozenset(name for name, new in self.names.items() if new == name)

    def check_used(self, where: str, labels: Iterable[str]) -> None:
        """Refuse an entry that fits no label.

        Raises:
            InputError: there is one.
        """
        known = set(labels)
        for old in self.names:
            if old not in known:
                shown = sorted(known)[:_SHOWN]
                raise InputError(f"{where}: --label-map: {unknown_name('label', old, shown)}")


@dataclass(frozen=True)
class Classes:
    """The classes of a table.

    Attributes:
        values: normal forms or mapped names, sorted.
        spellings: how often the file writes each in which way.
    """

    values: tuple[str, ...]
    spellings: Mapping[str, Counter[str]]

    @classmethod
    def of(cls, labels: Iterable[str], spellings: Mapping[str, Counter[str]]) -> Classes:
        """Return the classes of some labels."""
        return cls(tuple(sorted(set(labels))), spellings)

    @property
    def names(self) -> tuple[str, ...]:
        """What the classes are called: 0 and 1 are neg and pos."""
        return imdb.LABEL_NAMES if self.values == ("0", "1") else self.values

    def shown(self, value: str) -> str:
        """Return a class as the file writes it, with its name if that differs."""
        name = self.names[self.values.index(value)]
        written = self.spellings.get(value) or Counter((value,))
        # Of each label under this name the commonest spelling.
        commonest: dict[str, str] = {}
        for text in sorted(written, key=lambda text: (-written[text], text)):
            commonest.setdefault(normal_label(text), text)
        shown = ", ".join(map(repr, [*commonest.values()][:_SPELLINGS]))
        more = ", …" if len(commonest) > _SPELLINGS else ""
        return shown if shown == repr(name) else f"{shown}{more} ({name})"

    def numbers(self, labels: Iterable[str]) -> np.ndarray:
        """Return int64 (n,), the index of each label's class."""
        index = {value: number for number, value in enumerate(self.values)}
        return np.array([index[label] for label in labels], np.int64)


def check_lookalikes(where: str, counts: Counter[str], kept_apart: frozenset[str]) -> None:
    """Refuse labels that look like one written in two ways, unless the user keeps them apart.

    Args:
        where: file and column, for messages.
        counts: rows of each label.
        kept_apart: labels that the user has confirmed.

    Raises:
        InputError: there are some; it names the flag for both answers.
    """
    groups: dict[str, list[str]] = {}
    for label in counts:
        groups.setdefault(_look(label), []).append(label)
    alike = [group for group in groups.values() if len(set(group) - kept_apart) > 1]
    if not alike:
        return
    shown, joining, keeping = [], [], []
    for group in alike[:_SHOWN]:
        group.sort(key=lambda label: (-counts[label], label != label.casefold(), label))
        shown.append(" and ".join(f"{label!r} ({counts[label]:,} rows)" for label in group))
        joining += [_entry(label, group[0]) for label in group[1:]]
        keeping += [_entry(label, label) for label in group[1:]]
    raise InputError(
        f"{where}: {'; '.join(shown)} look like one label written in two ways\n"
        f"--label-map {shlex.quote(','.join(joining))} joins them, "
        f"--label-map {shlex.quote(','.join(keeping))} keeps them apart"
    )


def _entry(old: str, new: str) -> str:
    """Return an entry of `--label-map`, in quotes where it has a comma."""
    text = f"{old}={new}"
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"') else text


def _look(label: str) -> str:
    """Return what labels have in common that a reader would take for one."""
    text = " ".join(unicodedata.normalize("NFKC", label).casefold().split())
    return normal_label(text.lstrip("0") or "0") if text.isdecimal() else text


def class_order(model: Sequence[str], data: Sequence[str]) -> list[int] | None:
    """Return the place of each class of the data among a model's; None if they differ.

    Labels are compared by value: a model of an earlier version may call 0.0 what is 0, or neg.
    """
    ours, theirs = _comparable(model), _comparable(data)
    if len(ours) != len(set(ours)) or sorted(ours) != sorted(theirs):
        return None
    return [ours.index(name) for name in theirs]


def class_numbers(model: Sequence[str], data: Iterable[str]) -> dict[str, int | None]:
    """Return for each label of the data its index among a model's classes, None where none is it.

    Labels are compared as by `class_order`, but the data need not have all of the model's.
    """
    ours = _comparable(model)
    labels = sorted(set(data))
    binary = set(ours) == set(imdb.LABEL_NAMES)
    theirs = _comparable(labels, binary=binary)
    index = {name: number for number, name in enumerate(ours)}
    return {label: index.get(name) for label, name in zip(labels, theirs, strict=True)}


def _comparable(names: Sequence[str], binary: bool = False) -> list[str]:
    normal = [normal_label(name) for name in names]
    if set(normal) == {"0", "1"} or (binary and set(normal) <= {"0", "1"}):
        return [imdb.LABEL_NAMES[int(name)] for name in normal]
    truth: dict[str, str] = {"true": "True", "false": "False"}
    return [truth.get(name.casefold(), name) for name in normal]


def memoized(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of a label that computes each value once; unhashable ones each time."""
    known: dict[tuple[type, Any], Any] = {}

    def remembered(value: Any) -> Any:
        try:
            key = (type(value), value)
            if key not in known:
                known[key] = read(value)
            return known[key]
        except TypeError:
            return read(value)

    return remembered
