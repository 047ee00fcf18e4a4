"""Validation accuracy of all trials of several sweeps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.axes import value_axis
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.svg import printable
from sweeps.reporting.figures.sweep_points import ACCURACY, evaluated, scatter
from sweeps.reporting.figures.theme import INK, new_drawing


def sweep_spread(records: Sequence[SweepData]) -> ReportFigure:
    """Draw the validation accuracy of all trials of each sweep."""
    figure = ReportFigure(
        "spread",
        "All trials of each sweep",
        "Each mark is a trial at its best validation accuracy; the line is the median, trials that "
        "were stopped early or ran out of time included.",
    )
    figure.drawing, axes = new_drawing(1.2 + 0.7 * len(records))
    everything = []
    for number, record in enumerate(records):
        trials = evaluated(record)
        values = [trial.metrics[ACCURACY] for trial in trials]
        heights = [number + ((k * 0.618034) % 1 - 0.5) * 0.55 for k in range(len(trials))]
        scatter(figure, axes, record, number, trials, values, heights, s=26)
        axes.plot([float(np.median(values))] * 2, [number - 0.4, number + 0.4], color=INK, lw=1.8)
        everything += values
    value_axis(axes.xaxis, ACCURACY, everything)
    axes.set_yticks(range(len(records)), [printable(record.name, 34) for record in records])
    axes.set_ylim(len(records) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("best valid/accuracy of a trial")
    return figure
