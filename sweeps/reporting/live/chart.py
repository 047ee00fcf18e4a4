"""Curves of the running trials against those that ended: an SVG element, written in a millisecond.

The figures of a report take a tenth of a second and more, too much for every evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from xml.sax.saxutils import escape, quoteattr

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from sentiment.objective import best
from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.axes import short
from sweeps.reporting.figures.svg import printable
from sweeps.tracking.queries import TrialRecord

_WIDTH, _HEIGHT = 920, 300  # about pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 74, 14, 40
_COLOURS = ("sky", "orange", "green", "pink", "vermillion", "blue")
_TICKS = 6

_Curve = list[tuple[int, float]]


def running_chart(record: SweepData) -> Markup | None:
    """Return the chart; None if no trial was evaluated."""
    curves = {
        trial.run_id: [
            point for point in record.curves.get(trial.run_id, {}).items() if isfinite(point[1])
        ]
        for trial in record.trials
    }
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return None
    steps, values = zip(*points, strict=True)
    ticks = [
        MaxNLocator(_TICKS).tick_values(low, high)
        for low, high in ((0, max(steps)), (min(values), max(values)))
    ]
    area = _Area(*(float(end) for each in ticks for end in (each[0], each[-1])))
    running = [trial for trial in record.trials if trial.outcome is None]
    parts = [
        *(_grid(area, ticks[0], ticks[1])),
        *(_curve(area, curves[t.run_id], t, "grey") for t in record.trials if t not in running),
        *_best(area, best(record.objective, values)),
        *(
            _curve(area, curves[trial.run_id], trial, _COLOURS[place % len(_COLOURS)], named=True)
            for place, trial in enumerate(running)
        ),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 4, "training examples seen", "middle"),
    ]
    label = quoteattr(f"{record.objective} of the running trials by training examples seen")
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label={label} font-size="12" '
        f'fill="var(--ink)">{"".join(parts)}</svg>'
    )


class _Area:
    """Where values lie in the picture."""

    def __init__(self, left: float, right: float, low: float, high: float) -> None:
        self._left, self._right, self._low, self._high = left, right, low, high

    def x(self, step: float) -> float:
        share = (step - self._left) / ((self._right - self._left) or 1)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (value - self._low) / ((self._high - self._low) or 1)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _grid(area: _Area, across: Iterable[float], up: Iterable[float]) -> Iterable[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for value in up:
        y = area.y(value)
        yield _line(_LEFT, y, right, y, "grid")
        yield _text(_LEFT - 6, y + 4, f"{value:.4g}", "end")
    for step in across:
        yield _text(area.x(step), bottom + 16, short(step), "middle")


def _best(area: _Area, value: float) -> Iterable[str]:
    y = area.y(value)
    yield _line(_LEFT, y, _WIDTH - _RIGHT, y, "ink", ' stroke-dasharray="5 4"')
    yield _text(_WIDTH - _RIGHT + 4, y + 4, "best so far", "start")


def _curve(
    area: _Area, curve: _Curve, trial: TrialRecord, colour: str, *, named: bool = False
) -> str:
    """Return a trial's curve; a `named` one is strong, with a dot and its number at its end."""
    if not curve:
        return ""
    places = [(area.x(step), area.y(value)) for step, value in curve]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    tip = escape(printable(trial.name, 200))
    width, opacity = (2.2, 1) if named else (1, 0.5)
    drawn = (
        f'<polyline points="{points}" fill="none" stroke="var(--{colour})" stroke-width="{width}" '
        f'stroke-opacity="{opacity}"><title>{tip}</title></polyline>'
    )
    if named:
        x, y = places[-1]
        drawn += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="var(--{colour})"/>'
        drawn += _text(x + 7, y + 4, f"{trial.key:03d}", "start")
    return drawn


def _line(x: float, y: float, to_x: float, to_y: float, colour: str, more: str = "") -> str:
    return (
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" '
        f'stroke="var(--{colour})"{more}/>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
