"""The history of a search: each trial's result in the order of their ends."""

from __future__ import annotations

from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.axes import legend_below, value_axis
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.theme import INK, new_drawing
from sweeps.reporting.figures.trial_points import scatter
from sweeps.trials.outcomes import RANKED


def history(record: SweepData) -> ReportFigure:
    """Draw each trial's best value in the order of the trials, and the best so far."""
    figure = ReportFigure(
        "history",
        "Optimisation history",
        "Each mark is a trial, at the value of its best checkpoint; the line is the best so far. "
        "A line that still climbs at the right end says that more trials would have paid.",
    )
    scored = [trial for trial in record.trials if record.best_key in trial.metrics]
    if not scored:
        return figure.not_drawn("no trial was evaluated")
    figure.drawing, axes = new_drawing(4.0)
    scatter(figure, axes, record, scored, lambda trial: trial.key)
    keys: list[int | str] = []
    best: list[float] = []
    for trial in scored:
        if trial.outcome not in RANKED:
            continue
        value = trial.metrics[record.best_key]
        better = max if record.sign > 0 else min
        best.append(better(best[-1], value) if best else value)
        keys.append(trial.key)
    axes.step(keys, best, where="post", color=INK, lw=1.6, label="best so far", zorder=2)
    value_axis(axes.yaxis, record.objective, (trial.metrics[record.best_key] for trial in scored))
    axes.set(xlabel="trial", ylabel=f"best {record.objective}")
    legend_below(axes)
    return figure
