"""Results against the number of parameters, the time and the latency, with the Pareto front.

What a sweep has searched is drawn as it was: against its first objective, not the accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes

from sweeps.analysis.sweep_data import SweepData
from sweeps.objectives import LATENCY, METRICS, PARAMETERS, SECONDS
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
        _tradeoff(figure, axes, record, shown, size, PARAMETERS)
        axes.set_xlabel(label)
    left.set_ylabel(_metric(record, PARAMETERS).replace("/", " ", 1))
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
    _tradeoff(figure, axes, record, shown, lambda trial: trial.metrics["seconds/total"], SECONDS)
    axes.set(xlabel="training seconds", ylabel=_metric(record, SECONDS).replace("/", " ", 1))
    legend_below(axes)
    return figure


def latency(record: SweepData) -> ReportFigure:
    """Draw the first objective over the latency of a single text, with the Pareto front."""
    figure = ReportFigure(
        "latency",
        "Accuracy against latency",
        "Median time of the prediction of a single text, measured in the trial's worker after its "
        "last evaluation. The line is the Pareto front: no trial is both faster and better than "
        "one on it.",
    )
    name = METRICS[LATENCY]
    shown = [t for t in record.ranked if t.metrics.get(name, 0) > 0]
    if not shown:
        return figure.not_drawn("no trial has recorded its latency")
    figure.drawing, axes = new_drawing(3.9)
    _tradeoff(figure, axes, record, shown, lambda trial: trial.metrics[name], LATENCY)
    axes.set(
        xlabel="milliseconds of a single text",
        ylabel=_metric(record, LATENCY).replace("/", " ", 1),
    )
    legend_below(axes)
    return figure


def _metric(record: SweepData, name: str) -> str:
    """Return what is drawn over a cost: the accuracy, or what was searched together with it."""
    return record.best_key if name in record.objectives.further else "best/valid/accuracy"


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
    figure: ReportFigure,
    axes: Axes,
    record: SweepData,
    trials: Sequence[TrialRecord],
    cost: Any,
    name: str,
) -> None:
    metric = _metric(record, name)
    sign = record.sign if metric == record.best_key else 1
    shown = [trial for trial in trials if metric in trial.metrics]
    front = pareto_front((cost(trial), sign * trial.metrics[metric]) for trial in shown)
    scatter(figure, axes, record, shown, cost, metric=metric)
    x, y = zip(*front, strict=True)
    axes.step(
        x,
        [sign * value for value in y],
        where="post",
        color=GREEN,
        lw=1.6,
        label="Pareto front",
        zorder=2,
    )
    value_axis(axes.yaxis, metric, (trial.metrics[metric] for trial in shown))
    plain_log(axes.xaxis, min(map(cost, shown)), max(map(cost, shown)))
