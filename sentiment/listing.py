"""Lists of names in messages: the first few, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence

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
