"""Lists of names in messages, and tables of plain text."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

SHOWN = 8
"""Names that a message lists."""
LONGEST = 40
"""Characters that are shown of a name."""


def short(name: str, length: int = LONGEST) -> str:
    """Return a name in one line of that many characters at most."""
    line = " ".join(name.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def listed(names: Sequence[str], shown: int = SHOWN) -> str:
    """Return names with commas between them; of more than are shown the first, and a count.

    `neg, pos`; `a, b, c, d, e, f, g, h and 122 more`.
    """
    first = ", ".join(map(short, names[:shown]))
    more = len(names) - shown
    return f"{first} and {more:,} more" if more > 0 else first


def table_lines(
    rows: Iterable[Sequence[str]], numbers: bool = True, indent: str = "  "
) -> list[str]:
    """Return the lines of a table: columns as wide as their cells need.

    Args:
        rows: of cells; the first may be a heading.
        numbers: whether all columns but the first are numbers, which end at their right.
        indent: before each line.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    rows = [list(row) for row in rows]
    table = Table.grid(padding=(0, 2, 0, 0))
    for column in range(len(rows[0])):
        table.add_column(justify="right" if numbers and column else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    width = sum(2 + max(cell_len(cell) for cell in cells) for cells in zip(*rows, strict=True))
    output = io.StringIO()
    Console(file=output, width=width, markup=False, highlight=False, emoji=False).print(table)
    return [f"{indent}{line}".rstrip() for line in output.getvalue().splitlines()]
