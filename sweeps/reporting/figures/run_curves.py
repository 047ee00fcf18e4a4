"""Learning curves of several runs."""

from __future__ import annotations

from sweeps.analysis.comparison import CURVE, Comparison
from sweeps.reporting.figures.axes import legend_below, thousands, value_axis
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.svg import printable
from sweeps.reporting.figures.theme import SERIES, SERIES_MARKS, new_drawing


def run_curves(comparison: Comparison) -> ReportFigure:
    """Draw the learning curve of each run."""
    figure = ReportFigure(
        "curves", "Learning curves", f"{CURVE} of each run over the training examples seen."
    )
    drawn = [run for run in comparison.runs if run.curve]
    if not drawn:
        return figure
    figure.drawing, axes = new_drawing(4.2)
    for number, run in enumerate(drawn):
        steps, values = zip(*run.curve.items(), strict=True)
        (line,) = axes.plot(
            steps,
            values,
            color=SERIES[number % len(SERIES)],
            marker=SERIES_MARKS[number % len(SERIES_MARKS)],
            ms=5,
            label=printable(run.label, 40),
        )
        figure.add_tooltips(line, [run.label])
    thousands(axes.xaxis)
    value_axis(axes.yaxis, CURVE, (value for run in drawn for value in run.curve.values()))
    axes.set(xlabel="training examples seen", ylabel=CURVE)
    legend_below(axes)
    return figure
