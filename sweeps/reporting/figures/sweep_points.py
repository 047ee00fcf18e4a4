"""Trials of several sweeps as points: a colour, a mark and a tooltip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.theme import GROUND, SERIES, SERIES_MARKS
from sweeps.reporting.leaderboard import settings_text
from sweeps.tracking.queries import TrialRecord

ACCURACY = "best/valid/accuracy"
"""The metric by which sweeps are compared, whatever the objective of each."""


def evaluated(record: SweepData) -> list[TrialRecord]:
    """Return the ranked trials with a validation accuracy, the best first."""
    return [trial for trial in record.ranked if ACCURACY in trial.metrics]


def scatter(
    figure: ReportFigure,
    axes: Axes,
    record: SweepData,
    number: int,
    trials: Sequence[TrialRecord],
    x: Sequence[float],
    y: Sequence[float],
    **options: Any,
) -> None:
    """Draw a mark for each trial of a sweep.

    Args:
        figure: the figure, for the tooltips.
        axes: the axes.
        record: the sweep.
        number: its place among the sweeps, which decides its colour and mark.
        trials: the trials.
        x: a place for each.
        y: a place for each.
        options: passed on to `Axes.scatter`.
    """
    dots = axes.scatter(
        x,
        y,
        color=SERIES[number % len(SERIES)],
        marker=SERIES_MARKS[number % len(SERIES_MARKS)],
        alpha=0.8,
        edgecolors=GROUND,
        linewidths=0.5,
        **options,
    )
    figure.add_tooltips(dots, [_tooltip(record, trial) for trial in trials])


def _tooltip(record: SweepData, trial: TrialRecord) -> str:
    return (
        f"{record.name}: {trial.name}\nvalid/accuracy {trial.metrics[ACCURACY]:.4f}\n"
        f"{settings_text(record.settings_of(trial))}"
    )
