"""Scales, ticks and legends of the figures' axes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

_LETTERS_AN_INCH, _LETTERS_OF_A_MARK = 12, 7  # of a legend

# Of accuracies: an error of this much less is about as good.
_LEAST_ERROR = 0.004
# Of ticks that would be too close together the first is kept.
_ACCURACY_TICKS = (
    *(1.0, 0.9, 0.5, 0.8, 0.7, 0.6, 0.95, 0.99, 0.98, 0.85, 0.97, 0.96, 0.94, 0.92, 0.0, 0.3),
    *(0.93, 0.91, 0.89, 0.88, 0.87, 0.86, 0.75, 0.65, 0.4, 0.2, 0.1),
)


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
    """Return the ticks that are far enough from those before them on a stretched axis."""
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
