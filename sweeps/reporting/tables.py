"""A table of plain cells, for a page and for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it shows.
        order: what it is sorted by, if that isn't its text.
        kind: a class for its style, such as an outcome's name.
    """

    text: str
    order: float | None = None
    kind: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table.

    Attributes:
        columns: their headings; one that starts with `#` is of numbers.
        rows: a cell a column.
        sortable: whether a click on a heading sorts it.
        caption: what it shows.
        folded: whether it is shown only when it is unfolded.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    sortable: bool = False
    caption: str = ""
    folded: bool = False
