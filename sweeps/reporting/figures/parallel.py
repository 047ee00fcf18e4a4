"""Parallel coordinates: a line a trial over all hyperparameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.svg import printable
from sweeps.reporting.figures.theme import GROUND, INK, MUTED, OUTCOME_COLOURS, WINNER, new_drawing
from sweeps.reporting.figures.trial_points import tooltip
from sweeps.reporting.leaderboard import setting_text
from sweeps.space.dimensions import Choice, Dimension, FloatRange, IntRange

HIGHLIGHTED = 5
"""Trials that the parallel coordinates bring out."""


def parallel(record: SweepData) -> ReportFigure:
    """Draw each trial as a line through its settings."""
    figure = ReportFigure(
        "parallel",
        "Parallel coordinates",
        f"Each line is a trial, through the values of its settings to its result at the right. "
        f"The {HIGHLIGHTED} best are thick, the winner in its own colour; the others are thin. "
        "Where the thick lines run together, the search has settled. "
        "At the dash below an axis the setting had no effect in that trial.",
    )
    names = list(record.space.dimensions)
    if not names or not record.ranked:
        return figure.not_drawn("nothing to draw: no trial was evaluated, or nothing was searched")
    figure.drawing, axes = new_drawing(4.9)
    results = [trial.metrics[record.best_key] for trial in record.ranked]
    heights = {name: _height(record.space.dimensions[name]) for name in names}
    low, high = min(results), max(results)
    rank = {trial.run_id: number for number, trial in enumerate(record.ranked)}
    jitter = np.random.default_rng(0)
    for trial in reversed(record.ranked):
        settings = record.settings_of(trial)
        line = [heights[name](settings[name]) if name in settings else -0.12 for name in names]
        # Equal choices would lie upon one another.
        spread = [
            jitter.uniform(-0.018, 0.018)
            if isinstance(record.space.dimensions[name], Choice)
            else 0.0
            for name in names
        ]
        value = trial.metrics[record.best_key]
        line = [*np.add(line, spread), _stretched(record, value, low, high)]
        place = rank[trial.run_id]
        top = place < HIGHLIGHTED
        outcome = trial.outcome or "running"
        (drawn,) = axes.plot(
            range(len(line)),
            line,
            color=WINNER if place == 0 else OUTCOME_COLOURS[outcome],
            lw=2.8 if place == 0 else 2.0 if top else 0.9,
            alpha=1.0 if top else 0.38,
            zorder=5 if place == 0 else 4 if top else 3,
        )
        figure.add_tooltips(drawn, [tooltip(record, trial)])
    for place, name in enumerate(names):
        axes.axvline(place, color=MUTED, lw=0.9, zorder=2)
        for text, height in _marks(record.space.dimensions[name]):
            axes.text(
                place + 0.04, height, printable(text, 12), fontsize=8, va="center", zorder=6,
                bbox={"facecolor": GROUND, "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
            )  # fmt: skip
        if record.space.dimensions[name].when:
            axes.text(place + 0.04, -0.12, "–", fontsize=8, va="center", zorder=6)
    axes.axvline(len(names), color=INK, lw=1.2, zorder=2)
    for value in _result_marks(record, low, high):
        height = _stretched(record, value, low, high)
        axes.text(len(names) + 0.06, height, f"{value:.4g}", fontsize=8, va="center")
    axes.set_xticks(
        range(len(names) + 1),
        [printable(name, 22) for name in names] + [record.objective],
        rotation=28,
        ha="right",
    )
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.set_xlim(-0.1, len(names) + 0.55)
    axes.set_ylim(-0.18, 1.06)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def _height(dimension: Dimension) -> Any:
    """Return the function from a setting's value to its height, 0 to 1, on its axis."""
    match dimension:
        case Choice(values):
            last = max(len(values) - 1, 1)
            return lambda value: values.index(value) / last
        case IntRange(low, high, log) | FloatRange(low, high, log):
            if log:
                return lambda value: math.log(value / low) / max(math.log(high / low), 1e-12)
            return lambda value: (value - low) / max(high - low, 1e-12)


def _marks(dimension: Dimension) -> list[tuple[str, float]]:
    """Return the labels of an axis of the parallel coordinates, and their heights."""
    height = _height(dimension)
    if isinstance(dimension, Choice):
        return [(setting_text(value), height(value)) for value in dimension.values]
    low, high = dimension.low, dimension.high
    if isinstance(dimension, IntRange) and high - low <= 4 * dimension.step:
        values: list[float] = list(range(int(low), int(high) + 1, dimension.step))
    elif dimension.log:
        decades = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
        values = [10.0**power for power in decades] if len(decades) > 1 else [low, high]
    else:
        values = [low, (low + high) / 2, high]
    return [(setting_text(value), height(value)) for value in values]


def _stretched(record: SweepData, value: float, low: float, high: float) -> float:
    """Return the height of a result, 0 to 1, the better the higher."""
    if high == low:
        return 0.5
    if record.objective == "valid/loss":
        return (high - value) / (high - low)
    full = 1.004
    return math.log((full - low) / (full - value)) / math.log((full - low) / (full - high))


def _result_marks(record: SweepData, low: float, high: float) -> list[float]:
    """Return results to write beside the last axis, apart from one another."""
    candidates = [high, low, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 0.98]
    if record.objective == "valid/loss":
        candidates = [low, high, (low + high) / 2]
    kept: list[float] = []
    for value in candidates:
        place = _stretched(record, value, low, high) if low <= value <= high else -1
        if place >= 0 and all(
            abs(place - _stretched(record, other, low, high)) > 0.06 for other in kept
        ):
            kept.append(value)
    return kept
