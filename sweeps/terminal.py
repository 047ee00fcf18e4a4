"""Output that fits the terminal: lines wrapped at words, tables without cropped cells."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

LOG_WIDTH = 120
"""Columns of tables in a log, which has no width of its own."""
NOTEBOOK_WIDTH = 100
"""Columns of tables in a notebook's cell, which wraps longer lines."""
_PIECE = re.compile(r"[^\s/_]*[/_]?|\s+")
_LAST_COMMAND = re.compile(r": (python -m .+)$")
_BETWEEN = 2  # blanks between the two columns of a record


def sweep_console(stderr: bool = False) -> Console:
    """Return the console of a sweep: as wide as the terminal, `LOG_WIDTH` in a log.

    In a notebook it prints plain text, which the cell shows in one piece: Rich's own output for
    notebooks is a block of HTML for each line.
    """
    notebook = _is_notebook()
    console = Console(
        stderr=stderr,
        highlight=False,
        soft_wrap=True,
        force_jupyter=False,
        # IPython asks for the colors of a terminal by FORCE_COLOR.
        force_terminal=False if notebook else None,
    )
    if not console.is_terminal:
        console.width = NOTEBOOK_WIDTH if notebook else LOG_WIDTH
    return console


def shows_in_cell(console: Console) -> bool:
    """Return whether what is printed there appears below the cell of a notebook."""
    return _is_notebook() and console.file is sys.stdout


def _is_notebook() -> bool:
    return Console().is_jupyter


def notify(console: Console, text: str) -> None:
    """Print text: wrapped at words on a terminal, each line whole in a log.

    Lines that start with two blanks are commands and the like. They are never wrapped, so that
    what is copied from the terminal is what was meant; a command at the end of a line that is too
    long becomes one.
    """
    if console.is_terminal:
        text = "\n".join(_command_apart(line, console.width) for line in text.splitlines())
    for line in text.splitlines() or [""]:
        whole = not console.is_terminal or line.startswith("  ")
        # A word that is longer than a line, such as an address, is left to the terminal.
        for part in [line] if whole else flowed(line.split(" "), console.width, " "):
            console.print(part, markup=False, highlight=False, soft_wrap=True)


def _command_apart(line: str, width: int) -> str:
    return line if cell_len(line) <= width else _LAST_COMMAND.sub(r":\n  \1", line)


def flowed(parts: Iterable[str], width: int, separator: str) -> list[str]:
    """Return parts joined to lines of at most `width`, none of them broken unless it is longer."""
    lines: list[str] = []
    for part in parts:
        if lines and cell_len(lines[-1]) + cell_len(separator) + cell_len(part) <= width:
            lines[-1] += separator + part
        else:
            if lines:
                lines[-1] += separator.rstrip()
            lines.append(part)
    return lines


def command_lines(commands: Mapping[str, str], width: int) -> list[str]:
    """Return commands with what each does beside it, or below it where the width is too small."""
    first = max(map(cell_len, commands))
    if 2 + first + 2 + max(map(cell_len, commands.values())) <= width:
        return [f"  {command:<{first}}  {what}" for command, what in commands.items()]
    return [line for each in commands.items() for line in (f"  {each[0]}", f"      {each[1]}")]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        heading: its name.
        cells: a text a row.
        right: whether it is aligned to the right, as numbers are.
        spare: its turn among the columns that may be left out, from 1; None: it always stays.
        most: characters from which on its cells are wrapped before a column is left out; None: they
            are not.
    """

    heading: str
    cells: Sequence[str]
    right: bool = False
    spare: int | None = None
    most: int | None = None


@dataclass(frozen=True)
class FittedTable:
    """A table that fits a width.

    Attributes:
        table: to print.
        left_out: headings of the columns that there was no room for.
    """

    table: Table
    left_out: list[str]


def fitted_table(columns: Sequence[Column], width: int, gap: int = 2) -> FittedTable:
    """Return a table that fits a width: no cell is cropped, and no word broken.

    Headings are wrapped first, at blanks and after `/` and `_`; then columns that may be spared
    are left out; then cells are wrapped at blanks. Where even that is too wide, each row becomes a
    list of headings and values.

    Args:
        columns: the columns, as many cells in each.
        width: characters of a line.
        gap: blanks between two columns.
    """
    shown = list(columns)
    turns = sorted((each for each in columns if each.spare), key=lambda each: each.spare or 0)
    while True:
        room = width - gap * (len(shown) - 1)
        widths = _heading_widths(shown, room)
        if widths is None and turns:
            shown.remove(turns.pop(0))
            continue
        widths = widths or _wrapped_widths(shown, room)
        left_out = [each.heading for each in columns if each not in shown]
        if widths is None:
            return FittedTable(_records(shown, width), left_out)
        return FittedTable(_table(shown, widths, gap), left_out)


def _heading_widths(columns: Sequence[Column], room: int) -> list[int] | None:
    """Return widths at which no cell is wrapped below its `most`; None if they don't fit.

    What is left goes to headings, and to cells above it.
    """
    widths = [
        max(
            _natural(each) if each.most is None else min(_natural(each), each.most),
            _longest_piece(each.heading),
            _longest_word(each) if each.most else 0,
        )
        for each in columns
    ]
    left = room - sum(widths)
    if left < 0:
        return None
    for place, each in enumerate(columns):
        for wanted in (_natural(each), cell_len(each.heading)):
            more = wanted - widths[place]
            if 0 < more <= left:
                widths[place] += more
                left -= more
    return widths


def _wrapped_widths(columns: Sequence[Column], room: int) -> list[int] | None:
    """Return widths at which cells are wrapped at blanks; None if a word does not fit."""
    least = [max(_longest_piece(each.heading), _longest_word(each), 1) for each in columns]
    if sum(least) > room:
        return None
    widths = [max(_natural(each), low) for each, low in zip(columns, least, strict=True)]
    while sum(widths) > room:
        widest = max(
            (place for place in range(len(widths)) if widths[place] > least[place]),
            key=lambda place: widths[place],
        )
        widths[widest] -= 1
    return widths


def _natural(column: Column) -> int:
    return max(map(cell_len, column.cells), default=0)


def _longest_word(column: Column) -> int:
    return max((cell_len(word) for cell in column.cells for word in cell.split()), default=0)


def _longest_piece(heading: str) -> int:
    return max(cell_len(piece.strip()) for piece in [*_PIECE.findall(heading), ""])


def _heading_lines(heading: str, width: int) -> str:
    """Return a heading broken into lines at blanks and after `/` and `_`."""
    lines = [""]
    for piece in filter(None, _PIECE.findall(heading)):
        if lines[-1] and cell_len(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece if lines[-1] else piece.lstrip()
    return "\n".join(line.rstrip() for line in lines)


def _table(columns: Sequence[Column], widths: Sequence[int], gap: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
    for each, width in zip(columns, widths, strict=True):
        table.add_column(
            Text(_heading_lines(each.heading, width)),
            justify="right" if each.right else "left",
            vertical="top",
            width=width,
            overflow="fold",
        )
    for row in zip(*(each.cells for each in columns), strict=True):
        # Said of each cell: a console that wraps nothing would crop them.
        table.add_row(*(Text(cell, no_wrap=False) for cell in row))
    return table


def _records(columns: Sequence[Column], width: int) -> Table:
    headings = [each.heading for each in columns]
    first = max(map(cell_len, headings))
    table = Table(box=None, pad_edge=False, padding=(0, _BETWEEN, 0, 0), show_header=False)
    table.add_column(width=min(first, max(width // 2, 1)), overflow="fold")
    table.add_column(width=max(width - first - _BETWEEN, width // 2 - _BETWEEN, 1), overflow="fold")
    for number, row in enumerate(zip(*(each.cells for each in columns), strict=True)):
        if number:
            table.add_row("", "")
        for heading, cell in zip(headings, row, strict=True):
            table.add_row(Text(heading, no_wrap=False), Text(cell, no_wrap=False))
    return table
