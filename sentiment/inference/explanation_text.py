"""Explanations as a command prints them: the heaviest words, and the text in colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sentiment.inference.prediction import Explanation, TokenWeight, pieces

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

HEAVIEST = 8
"""Words that are listed of a text."""
_NAMED = 0.005  # less than what two decimals show
# Styles from a share of the largest weight on; colours of the terminal's own, so that they can be
# read on light and dark grounds.
_STYLES = ((0.6, "black on {}"), (0.3, "bold {}"), (0.1, "{}"))


def summary(explanation: Explanation) -> str:
    """Return label, its probability and the heaviest words with their weights, by tabulators."""
    words = "  ".join(
        f"{_printable(token)} {weight:+.2f}"
        for token, weight in explanation.heaviest(HEAVIEST)
        if abs(weight) >= _NAMED
    )
    return f"{explanation.label}\t{explanation.probability:.4f}\t{words}"


def terminal() -> Console | None:
    """Return standard output as a terminal that shows colours; None if it is none."""
    from rich.console import Console

    console = Console(highlight=False)
    shows = console.is_terminal and console.color_system is not None and not console.no_color
    return console if shows else None


def coloured(text: str, tokens: Sequence[TokenWeight]) -> Text:
    """Return a text whose words are green where they speak for the label, red against it."""
    from rich.text import Text

    shown = Text()
    for piece in pieces(text, tokens):
        colour = "green" if piece.strength > 0 else "red"
        size = abs(piece.strength)
        style = next((style for least, style in _STYLES if size >= least), "")
        shown.append(_printable(piece.text), style.format(colour))
    return shown


def _printable(text: str) -> str:
    """Return a text without characters that would command a terminal."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
