"""Tables of measurements: on the terminal, and in a Markdown file between two marks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sentiment.errors import InputError


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def replace(path: Path, name: str, text: str) -> None:
    """Put a text between the marks `<!-- NAME -->` and `<!-- /NAME -->` of a file.

    Raises:
        InputError: the file has no such marks.
    """
    old = path.read_text(encoding="utf-8")
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(old):
        raise InputError(f"{path}: has no place for a table between {start} and {end}")
    temporary = path.with_suffix(".part")
    new = pattern.sub(lambda _: f"{start}\n\n{text}\n\n{end}", old)
    temporary.write_text(new, encoding="utf-8")
    temporary.replace(path)
