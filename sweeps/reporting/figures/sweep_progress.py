"""The best validation accuracy so far of several sweeps, by trials and by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sentiment.wording import counted
from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.axes import legend_below, value_axis
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.svg import printable
from sweeps.reporting.figures.sweep_points import ACCURACY, evaluated
from sweeps.reporting.figures.theme import SERIES, SERIES_MARKS, new_drawing

_MINUTE_MS = 60_000


@dataclass(frozen=True)
class Progress:
    """The best validation accuracy so far of one sweep, after each trial that has ended.

    Attributes:
        minutes: since the sweep's first trial started.
        best: the best accuracy until then.
    """

    minutes: list[float]
    best: list[float]

    @property
    def trials(self) -> list[int]:
        """How many trials have ended at each point."""
        return list(range(1, len(self.best) + 1))


def progress_of(record: SweepData) -> Progress:
    """Return the progress of a sweep with at least one evaluated trial."""
    ended = sorted(evaluated(record), key=lambda trial: trial.ended or trial.started)
    start = min(trial.started for trial in ended)
    return Progress(
        [((trial.ended or trial.started) - start) / _MINUTE_MS for trial in ended],
        np.maximum.accumulate([trial.metrics[ACCURACY] for trial in ended]).tolist(),
    )


def sweep_progress(records: Sequence[SweepData]) -> ReportFigure:
    """Draw the best validation accuracy so far of each sweep, by trials and by minutes."""
    figure = ReportFigure(
        "progress",
        "Best so far",
        "The best validation accuracy so far: left by the number of trials that have ended, right "
        "by the minutes since the first one started. The right one is fair only between sweeps "
        "on the same machine.",
    )
    figure.drawing, (left, right) = new_drawing(4.2, 1, 2, sharey=True)
    values: list[float] = []
    for number, record in enumerate(records):
        progress = progress_of(record)
        best = progress.best
        colour, mark = SERIES[number % len(SERIES)], SERIES_MARKS[number % len(SERIES_MARKS)]
        label = printable(record.name, 40)
        tooltip = f"{record.name}: {best[-1]:.4f} after {counted(len(best), 'trial')}"
        for axes, places in ((left, progress.trials), (right, progress.minutes)):
            (line,) = axes.step(places, best, where="post", color=colour, lw=1.8, label=label)
            axes.plot(places[-1], best[-1], mark, color=colour, ms=6)
            figure.add_tooltips(line, [tooltip])
        values += best
    value_axis(left.yaxis, ACCURACY, values)
    left.set(xlabel="trials ended", ylabel="best valid/accuracy so far")
    right.set(xlabel="minutes since the first trial started")
    legend_below(left)
    return figure
