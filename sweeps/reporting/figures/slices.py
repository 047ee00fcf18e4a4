"""Results by the values of each hyperparameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.axes import legend_below, plain_log, value_axis
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.svg import printable
from sweeps.reporting.figures.theme import MUTED, new_drawing
from sweeps.reporting.figures.trial_points import scatter
from sweeps.reporting.leaderboard import setting_text
from sweeps.space.dimensions import Choice, Dimension, IntRange
from sweeps.tracking.queries import TrialRecord

_LETTERS_OF_A_SLICE = 30  # more of them do not fit under it side by side
_SPREAD = 0.35  # of a slice's width, how far equal values are spread


def slices(record: SweepData) -> ReportFigure:
    """Draw the objective over each hyperparameter by itself."""
    figure = ReportFigure(
        "slices",
        "Slices: the objective over each hyperparameter",
        "One panel a hyperparameter, one mark a trial. A trend in the upper edge of a panel is "
        "what to look for: the sampler tried more where it found good values, so the number of "
        "marks is a result of the search. Bars are medians of the trials that ran to their end.",
    )
    names = list(record.space.dimensions)
    scored = record.ranked
    if not names or not scored:
        return figure.not_drawn("nothing was searched" if scored else "no trial was evaluated")
    columns = 3
    rows = math.ceil(len(names) / columns)
    figure.drawing, panels = new_drawing(
        2.2 * rows + 0.5, rows, columns, sharey=True, squeeze=False
    )
    active = record.active
    for axes, name in zip(panels.flat, names, strict=False):
        dimension = record.space.dimensions[name]
        shown = [trial for trial in scored if name in active[trial.run_id]]
        values = {trial.run_id: active[trial.run_id][name] for trial in shown}
        places = _places(axes, dimension, values)
        scatter(figure, axes, record, shown, lambda t, p=places: p[t.run_id], size=20)
        _medians(axes, record, dimension, shown, values)
        value_axis(axes.yaxis, record.objective, (t.metrics[record.best_key] for t in scored))
        axes.set_title(printable(name, 30))
    for axes in panels.flat[len(names) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel(f"best {record.objective}")
    legend_below(*panels.flat)
    return figure


def _places(axes: Axes, dimension: Dimension, values: dict[str, Any]) -> dict[str, float]:
    """Set up the horizontal axis of a slice, and return the place of each trial on it."""
    if isinstance(dimension, Choice):
        order = list(dimension.values)
        labels = [printable(setting_text(value), 12) for value in order]
        crowded = sum(map(len, labels)) > _LETTERS_OF_A_SLICE
        axes.set_xticks(range(len(order)), labels)
        if crowded:
            axes.tick_params(axis="x", labelrotation=20)
        axes.set_xlim(-0.6, len(order) - 0.4)
        return _spread({run: float(order.index(value)) for run, value in values.items()}, 1.0)
    low, high = dimension.low, dimension.high
    if isinstance(dimension, IntRange) and high - low <= 8 * dimension.step and not dimension.log:
        step = dimension.step
        axes.set_xticks(list(range(int(low), int(high) + 1, step)))
        axes.set_xlim(low - 0.6 * step, high + 0.6 * step)
        return _spread({run: float(value) for run, value in values.items()}, float(step))
    if dimension.log:
        plain_log(axes.xaxis, low, high)
    else:
        axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    return {run: float(value) for run, value in values.items()}


def _spread(places: dict[str, float], step: float) -> dict[str, float]:
    """Spread marks at equal places a little, evenly and always alike."""
    found = dict(places)
    for place in set(places.values()):
        here = [run for run, value in places.items() if value == place]
        for number, run in enumerate(here):
            share = (number * 0.618034) % 1.0 - 0.5  # the golden ratio fills a gap evenly
            found[run] = place + step * _SPREAD * 2 * share
    return found


def _medians(
    axes: Axes,
    record: SweepData,
    dimension: Dimension,
    trials: Sequence[TrialRecord],
    values: dict[str, Any],
) -> None:
    if not isinstance(dimension, Choice):
        return
    for place, choice in enumerate(dimension.values):
        results = [
            trial.metrics[record.best_key]
            for trial in trials
            if values[trial.run_id] == choice and trial.outcome == "completed"
        ]
        if len(results) > 1:
            middle = float(np.median(results))
            axes.plot([place - 0.38, place + 0.38], [middle] * 2, color=MUTED, lw=2.2, zorder=2.5)
