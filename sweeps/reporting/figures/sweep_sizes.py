"""Validation accuracy over the number of parameters, of several sweeps."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.axes import legend_below, plain_log, value_axis
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.svg import printable
from sweeps.reporting.figures.sweep_points import ACCURACY, evaluated, scatter
from sweeps.reporting.figures.theme import new_drawing


def sweep_sizes(records: Sequence[SweepData]) -> ReportFigure:
    """Draw the validation accuracy of all trials over their parameters."""
    figure = ReportFigure(
        "sizes",
        "Accuracy against parameters",
        "Each mark is a trial that was evaluated and did not fail.",
    )
    figure.drawing, axes = new_drawing(4.2)
    totals, values = [], []
    for number, record in enumerate(records):
        trials = [t for t in evaluated(record) if t.metrics.get("parameters/total", 0) > 0]
        if not trials:
            continue
        x = [trial.metrics["parameters/total"] for trial in trials]
        y = [trial.metrics[ACCURACY] for trial in trials]
        label = printable(record.name, 40)
        scatter(figure, axes, record, number, trials, x, y, s=28, label=label)
        totals += x
        values += y
    if not totals:
        figure.drawing = None
        return figure
    plain_log(axes.xaxis, min(totals), max(totals))
    value_axis(axes.yaxis, ACCURACY, values)
    axes.set(xlabel="parameters", ylabel="best valid/accuracy")
    legend_below(axes)
    return figure
