"""A picture of a report: drawn once, written as PNG and as SVG for a page.

The SVG takes its colours of text, lines and ground from the page (CSS variables), so that it fits
a light and a dark page, and shows a tooltip for each mark that has one.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

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

DOTS_PER_INCH = 144
WIDTH = 9.2
"""Inches of a picture."""
HALF_WIDTH = 4.6
"""Inches of a picture that may stand beside another."""

_LETTERS_AN_INCH, _LETTERS_OF_A_MARK = 12, 7  # of a legend

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
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "{http://www.w3.org/1999/xlink}href"
_SHAPES = {f"{{{_SVG}}}{name}" for name in ("path", "use", "rect")}
_FONT = re.compile(r"font-family: [^;\"]+")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
# What XML can't hold.
_UNPRINTABLE = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# Of accuracies: an error of this much less is about as good.
_LEAST_ERROR = 0.004
# The first of those that would stand too close together stays.
_ACCURACY_TICKS = (
    *(1.0, 0.9, 0.5, 0.8, 0.7, 0.6, 0.95, 0.99, 0.98, 0.85, 0.97, 0.96, 0.94, 0.92, 0.0, 0.3),
    *(0.93, 0.91, 0.89, 0.88, 0.87, 0.86, 0.75, 0.65, 0.4, 0.2, 0.1),
)


@dataclass
class Picture:
    """One picture, or the sentence that stands in its place.

    Attributes:
        name: file name without its ending, and the picture's anchor in a page.
        title: what it shows.
        reading: how to read it.
        figure: the drawing; None if there is nothing to draw.
        notes: what else is to be said: how many trials it shows, why there is none.
        tips: of each artist that has some, one tooltip for each of its marks.
    """

    name: str
    title: str
    reading: str
    figure: Figure | None
    notes: list[str] = field(default_factory=list)
    tips: dict[str, list[str]] = field(default_factory=dict)
    _laid_out: bool = field(default=False, init=False)

    @property
    def is_half(self) -> bool:
        """Whether another of its kind fits beside it."""
        return self.figure is not None and self.figure.get_figwidth() <= HALF_WIDTH

    def tip(self, artist: Artist, texts: Sequence[str]) -> None:
        """Give an artist's marks their tooltips."""
        gid = f"tip-{len(self.tips)}"
        artist.set_gid(gid)
        self.tips[gid] = [printable(text, 600) for text in texts]

    def png(self) -> bytes:
        """Return the picture as a PNG.

        Raises:
            ValueError: there is none.
        """
        return self._saved("png", dpi=DOTS_PER_INCH)

    def svg(self) -> str:
        """Return the picture as an `<svg>` element for a page.

        Raises:
            ValueError: there is none, or a tooltip has no mark.
        """
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        root = ElementTree.fromstring(self._saved("svg", metadata=metadata))
        for unwanted in ("metadata", "defs"):
            for found in root.findall(f"{{{_SVG}}}{unwanted}"):
                if not any("id" in child.attrib for child in found):
                    root.remove(found)
        self._add_tips(root)
        self._localize(root)
        for size in ("width", "height"):
            del root.attrib[size]
        root.set("role", "img")
        root.set("aria-label", self.title)
        ElementTree.register_namespace("", _SVG)
        text = ElementTree.tostring(root, encoding="unicode")
        text = _FONT.sub("font-family: inherit", text)
        for colour, name in CSS_NAMES.items():
            text = text.replace(colour, f"var(--{name})")
        return text

    def _saved(self, kind: str, **options: Any) -> bytes:
        if self.figure is None:
            raise ValueError(f"the picture {self.name} is not drawn")
        buffer = io.BytesIO()
        with styled(), warnings.catch_warnings():
            # A label in a script that the font lacks shows boxes in the PNG; the SVG has it.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            if not self._laid_out:
                # Once, for both kinds: a figure that has an engine is laid out at each saving.
                ConstrainedLayoutEngine().execute(self.figure)
                self._laid_out = True
            matplotlib.rcParams["svg.hashsalt"] = self.name
            self.figure.savefig(buffer, format=kind, **options)
        return buffer.getvalue()

    def _add_tips(self, root: ElementTree.Element) -> None:
        groups = {group.get("id"): group for group in root.iter(f"{{{_SVG}}}g")}
        for gid, texts in self.tips.items():
            group = groups[gid]
            marks = [group]
            if len(texts) > 1:
                hidden = {id(shape) for defs in group.iter(f"{{{_SVG}}}defs") for shape in defs}
                marks = [e for e in group.iter() if e.tag in _SHAPES and id(e) not in hidden]
            for mark, text in zip(marks, texts, strict=True):
                title = ElementTree.Element(f"{{{_SVG}}}title")
                title.text = text
                mark.insert(0, title)

    def _localize(self, root: ElementTree.Element) -> None:
        """Make all ids the picture's own: a page holds several."""
        prefix = f"{self.name}-"
        for element in root.iter():
            if "id" in element.attrib:
                element.set("id", prefix + element.attrib["id"])
            for key, value in list(element.attrib.items()):
                if key == _XLINK:
                    del element.attrib[key]
                    element.set("href", f"#{prefix}{value[1:]}")
                elif "url(#" in value:
                    element.set(key, _REFERENCE.sub(rf"url(#{prefix}\1)", value))


def styled() -> Any:
    """Return the context in which figures are made and saved."""
    return matplotlib.rc_context(_STYLE)  # type: ignore[arg-type]


def new_figure(
    height: float, rows: int = 1, columns: int = 1, *, width: float = WIDTH, **options: Any
) -> Any:
    """Return a figure, its sizes in inches, and its axes as `Figure.subplots` gives them."""
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns, **options)


def printable(text: object, length: int = 60) -> str:
    """Return a text that XML can hold, cut to a length."""
    clean = _UNPRINTABLE.sub("\ufffd", str(text))
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def stretch_accuracy(axis: Axis, low: float, high: float) -> None:
    """Let an axis of accuracies show differences among good ones: equal factors of the error.

    Args:
        axis: the axis.
        low: the least value shown.
        high: the greatest.
    """
    full = 1 + _LEAST_ERROR
    functions = (
        lambda values: -np.log(np.maximum(full - np.asarray(values, float), 1e-6)),
        lambda values: full - np.exp(-np.asarray(values, float)),
    )
    vertical = axis is axis.axes.yaxis
    set_scale = axis.axes.set_yscale if vertical else axis.axes.set_xscale
    set_limits = axis.axes.set_ylim if vertical else axis.axes.set_xlim
    set_scale("function", functions=functions)
    below, above = math.log(full - low), math.log(full - high)
    margin = max(0.04 * (below - above), 0.01)
    limits = (full - math.exp(below + margin), min(1.0, full - math.exp(above - margin)))
    set_limits(*limits)
    ticks = [tick for tick in _ACCURACY_TICKS if limits[0] <= tick <= limits[1]]
    if len(ticks) < 4:
        step = 10 ** math.floor(math.log10(max(limits[1] - limits[0], 1e-6) / 2))
        first = math.ceil(limits[0] / step) * step
        ticks = [first + step * k for k in range(int((limits[1] - first) / step) + 1)]
    axis.set_major_locator(FixedLocator(_apart(ticks, full, below - above + 2 * margin)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def _apart(ticks: Iterable[float], full: float, span: float) -> list[float]:
    """Return the ticks that stand far enough from those before them on a stretched axis."""
    kept: list[float] = []
    for tick in ticks:
        places = [math.log((full - tick) / (full - other)) for other in kept]
        if all(abs(place) > 0.055 * span for place in places):
            kept.append(tick)
    return kept


def value_axis(axis: Axis, metric: str, values: Iterable[float]) -> None:
    """Set up an axis of a metric: stretched for accuracy and F1, plain for a loss."""
    finite = [value for value in values if math.isfinite(value)]
    if metric.endswith("loss") or not finite:
        return
    low, high = min(finite), max(finite)
    if low >= 0 and high <= 1:
        stretch_accuracy(axis, low, high)


def thousands(axis: Axis) -> None:
    """Write an axis's numbers with commas."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def plain_log(axis: Axis, low: float, high: float) -> None:
    """Make an axis logarithmic, its numbers short: `0.003`, `20`, `1.5M`.

    Args:
        axis: the axis.
        low: the least value shown, above 0.
        high: the greatest.
    """
    vertical = axis is axis.axes.yaxis
    (axis.axes.set_yscale if vertical else axis.axes.set_xscale)("log")
    decades = math.log10(high / low)
    margin = 10 ** max(0.04 * decades, 0.02)
    (axis.axes.set_ylim if vertical else axis.axes.set_xlim)(low / margin, high * margin)
    if decades > 2.5:
        axis.set_major_locator(LogLocator(10, (1.0,)))
    elif decades > 1.2:
        axis.set_major_locator(LogLocator(10, (1.0, 3.0)))
    elif decades > 0.8:
        axis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0)))
    else:
        axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.set_minor_locator(NullLocator())


def short(value: float) -> str:
    """Return a number in few characters: `0.0023`, `12`, `2.5M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def legend_below(*panels: Axes) -> None:
    """Draw one legend under a figure, of all that its panels name."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure = panels[0].get_figure(root=True)
        assert figure is not None
        letters = int(_LETTERS_AN_INCH * figure.get_figwidth())
        columns = max(1, min(len(found), letters // (max(map(len, found)) + _LETTERS_OF_A_MARK)))
        figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=columns)
