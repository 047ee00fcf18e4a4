"""Results against the number of parameters and against the time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes

from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.axes import legend_below, plain_log, value_axis
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.theme import GREEN, new_drawing
from sweeps.reporting.figures.trial_points import scatter
from sweeps.tracking.queries import TrialRecord


def parameters(record: SweepData) -> ReportFigure:
    """Draw validation accuracy over the size of the model, with the Pareto front."""
    figure = ReportFigure(
        "parameters",
        "Accuracy against parameters",
        "Left: all parameters; word vectors are most of them. Right: without the word vectors, "
        "what the recurrent layers and the head add. The line is the Pareto front: no trial is "
        "both smaller and more accurate than one on it.",
    )
    shown = [t for t in record.ranked if "parameters/total" in t.metrics]
    if not shown:
        return figure.not_drawn("no trial has recorded its size")
    figure.drawing, (left, right) = new_drawing(4.2, 1, 2, sharey=True)

    def without_vectors(trial: TrialRecord) -> float:
        metrics = trial.metrics
        return metrics["parameters/total"] - metrics.get("parameters/embedding", 0.0)

    for axes, size, label in (
        (left, lambda trial: trial.metrics["parameters/total"], "parameters"),
        (right, without_vectors, "parameters without word vectors"),
    ):
        _tradeoff(figure, axes, record, shown, size)
        axes.set_xlabel(label)
    left.set_ylabel("best valid/accuracy")
    legend_below(left, right)
    return figure


def seconds(record: SweepData) -> ReportFigure:
    """Draw validation accuracy over the seconds of training, with the Pareto front."""
    figure = ReportFigure(
        "seconds",
        "Accuracy against training time",
        "Seconds of a trial's training and evaluation in its worker; trials that did not run to "
        "their end are cheap for that reason. The line is the Pareto front.",
    )
    shown = [t for t in record.ranked if t.metrics.get("seconds/total", 0) > 0]
    if not shown:
        return figure.not_drawn("no trial has recorded its time")
    figure.drawing, axes = new_drawing(3.9)
    _tradeoff(figure, axes, record, shown, lambda trial: trial.metrics["seconds/total"])
    axes.set(xlabel="training seconds", ylabel="best valid/accuracy")
    legend_below(axes)
    return figure


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that none beats in both a small cost and a large value, by cost.

    Of points of equal cost the largest value stays; equal points stay once.
    """
    front: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or value > front[-1][1]:
            front.append((cost, value))
    return front


def _tradeoff(
    figure: ReportFigure, axes: Axes, record: SweepData, trials: Sequence[TrialRecord], cost: Any
) -> None:
    metric = "best/valid/accuracy"
    shown = [trial for trial in trials if metric in trial.metrics]
    front = pareto_front((cost(trial), trial.metrics[metric]) for trial in shown)
    scatter(figure, axes, record, shown, cost, metric=metric)
    x, y = zip(*front, strict=True)
    axes.step(x, y, where="post", color=GREEN, lw=1.6, label="Pareto front", zorder=2)
    value_axis(axes.yaxis, metric, (trial.metrics[metric] for trial in shown))
    plain_log(axes.xaxis, min(map(cost, shown)), max(map(cost, shown)))
