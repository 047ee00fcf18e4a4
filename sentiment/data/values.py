"""Single values of a user's table: is there one, and is it text?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sentiment.data.columns import MISSING


def joined(parts: Sequence[Any]) -> str | None:
    """Return the text of one or several columns; None if all are missing or blank.

    Raises:
        ValueError: a part is not a string.
    """
    if len(parts) == 1 and isinstance(parts[0], str):
        return parts[0] if parts[0].strip() else None
    texts = []
    for part in parts:
        if is_blank(part):
            continue
        text = part.decode() if isinstance(part, bytes) else part
        if not isinstance(text, str):
            raise ValueError(
                f"the text is not a string, it is {part!r:.60}; name the texts' column by "
                "--text-column"
            )
        texts.append(text)
    return "\n".join(texts) if texts else None


def is_blank(value: Any) -> bool:
    """Whether a row does not have a value, or one of white space alone."""
    if value is None or value is MISSING:
        return True
    if isinstance(value, float):
        return math.isnan(value)
    return isinstance(value, str | bytes) and not value.strip()
