"""Theme of the figures: colours, marks, sizes, and matplotlib's settings."""

from __future__ import annotations

from typing import Any

import matplotlib
from matplotlib.figure import Figure

INK, MUTED, GRID, GROUND = "#1d2129", "#5d6570", "#dde1e7", "#fefefe"

# Okabe and Ito's colours, which people with any kind of colour vision tell apart.
BLUE, ORANGE, VERMILLION = "#0072b2", "#e69f00", "#d55e00"
GREEN, PINK, SKY, GREY = "#009e73", "#cc79a7", "#56b4e9", "#8b929c"
# Not theirs, but darker than the rest, which tells it apart.
BROWN = "#6b4423"

OUTCOME_COLOURS = {
    "completed": BLUE,
    "stopped_early": ORANGE,
    "out_of_time": BROWN,
    "failed": VERMILLION,
    "interrupted": GREY,
    "running": SKY,
}
OUTCOME_MARKS = {
    "completed": "o",
    "stopped_early": "v",
    "out_of_time": "P",
    "failed": "X",
    "interrupted": "s",
    "running": "D",
}
WINNER = PINK
SERIES = (BLUE, ORANGE, GREEN, PINK, VERMILLION, SKY, GREY, INK)
"""Colours of things that are no outcomes: sweeps, runs, classes."""
SERIES_MARKS = "ovsD^PX*"

CSS_NAMES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    GROUND: "ground",
    BLUE: "blue",
    ORANGE: "orange",
    VERMILLION: "vermillion",
    GREEN: "green",
    PINK: "pink",
    SKY: "sky",
    GREY: "grey",
    BROWN: "brown",
}
"""The page's CSS variable for each colour."""

WIDTH = 9.2
"""Inches of a figure."""
HALF_WIDTH = 4.6
"""Inches of a figure that fits beside another."""

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.parse_math": False,  # a label may hold a dollar sign
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": GROUND,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.unicode_minus": True,
    "figure.facecolor": GROUND,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.5,
    "svg.fonttype": "none",
}


def styled() -> Any:
    """Return a context with the theme's settings, in which figures are drawn and saved."""
    return matplotlib.rc_context(_STYLE)  # type: ignore[arg-type]


def new_drawing(
    height: float, rows: int = 1, columns: int = 1, *, width: float = WIDTH, **options: Any
) -> Any:
    """Return a matplotlib figure and its axes as `Figure.subplots` gives them.

    Args:
        height: inches.
        rows: rows of axes.
        columns: columns of axes.
        width: inches.
        options: passed on to `Figure.subplots`.
    """
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns, **options)
