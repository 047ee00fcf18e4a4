"""Words of a text with a background by their weights, as the report's page shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sentiment.inference.prediction import TokenWeight, pieces

_LEVELS = (0.1, 0.3, 0.6)


class Shaded(NamedTuple):
    """A piece of a text.

    Attributes:
        text: its characters.
        kind: class of its style, such as `for-2` or `against-3`; empty where it has none.
        weight: as text, such as `+0.52`; empty where there is none.
    """

    text: str
    kind: str = ""
    weight: str = ""


def shaded(
    text: str, weights: Sequence[TokenWeight], start: int = 0, end: int | None = None
) -> Iterator[Shaded]:
    """Yield the pieces of an excerpt, neighbours without a shade as one.

    Args:
        text: the whole text.
        weights: of its words; none, if they were not computed.
        start: first character of the excerpt.
        end: the one after its last; None: that of the text.
    """
    stop = len(text) if end is None else min(end, len(text))
    plain, at = "", 0
    for piece in pieces(text, weights):
        own = text[max(at, start) : min(at + len(piece.text), stop)]
        at += len(piece.text)
        level = sum(abs(piece.strength) >= least for least in _LEVELS)
        if not level or not own:
            plain += own
            continue
        if plain:
            yield Shaded(plain)
            plain = ""
        kind = f"{'for' if piece.strength > 0 else 'against'}-{level}"
        yield Shaded(own, kind, f"{piece.weight:+.2f}")
    if plain:
        yield Shaded(plain)
