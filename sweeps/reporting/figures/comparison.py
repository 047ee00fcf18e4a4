"""Pictures of several runs, or of several sweeps, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sentiment.wording import counted
from sweeps.analysis.comparison import CURVE, Comparison
from sweeps.analysis.significance import p_value_text
from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.drawing import (
    BLUE,
    GREY,
    GROUND,
    INK,
    SERIES,
    SERIES_MARKS,
    Picture,
    legend_below,
    new_figure,
    plain_log,
    printable,
    styled,
    thousands,
    value_axis,
)
from sweeps.reporting.figures.model import calibration, roc
from sweeps.reporting.leaderboard import settings_text
from sweeps.tracking.queries import TrialRecord

ACCURACY = "best/valid/accuracy"
"""What sweeps are compared by: it means the same whatever each went by."""

_MINUTE_MS = 60_000


def run_pictures(comparison: Comparison) -> list[Picture]:
    """Return the pictures of a comparison of runs; of each that has something to draw."""
    models = [(run.label, run.predictions) for run in comparison.runs if run.predictions]
    with styled():
        pictures = [differences(comparison), run_curves(comparison)]
        if models:
            pictures += [roc(models), calibration(models)]
    return [picture for picture in pictures if picture.figure is not None]


def differences(comparison: Comparison) -> Picture:
    """Draw the difference in accuracy of each pair, with its interval."""
    picture = Picture(
        "differences",
        "Differences in accuracy",
        f"Accuracy of the first of a pair less that of the second on the {comparison.split} "
        "split, with its 95% confidence interval (Newcombe 1998, method 10, for paired shares). An "
        "interval that crosses 0 leaves open which is better.",
        None,
    )
    pairs = comparison.pairs
    if not pairs:
        return picture
    picture.figure, axes = new_figure(1.1 + 0.5 * len(pairs))
    for place, pair in enumerate(pairs):
        low, high = pair.counts.interval()
        colour = GREY if low <= 0 <= high else BLUE
        axes.plot([100 * low, 100 * high], [place, place], color=colour, lw=2.4)
        (mark,) = axes.plot(100 * pair.counts.difference, place, "o", color=colour, ms=7)
        picture.tip(
            mark,
            [
                f"{pair.first} less {pair.second}: {pair.counts.difference:+.4f} "
                f"({low:+.4f} to {high:+.4f}), {p_value_text(pair.p_value, named=True)}"
            ],
        )
    axes.axvline(0, color=INK, lw=1)
    names = [f"{printable(p.first, 34)}\nless {printable(p.second, 34)}" for p in pairs]
    axes.set_yticks(range(len(pairs)), names)
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("difference in accuracy, percentage points")
    return picture


def run_curves(comparison: Comparison) -> Picture:
    """Draw the course of each run."""
    picture = Picture(
        "curves", "Learning curves", f"{CURVE} of each run over the training examples seen.", None
    )
    drawn = [run for run in comparison.runs if run.curve]
    if not drawn:
        return picture
    picture.figure, axes = new_figure(4.2)
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
        picture.tip(line, [run.label])
    thousands(axes.xaxis)
    value_axis(axes.yaxis, CURVE, (value for run in drawn for value in run.curve.values()))
    axes.set(xlabel="training examples seen", ylabel=CURVE)
    legend_below(axes)
    return picture


def sweep_pictures(records: Sequence[SweepData]) -> list[Picture]:
    """Return the pictures of several sweeps; of each that has something to draw."""
    shown = [record for record in records if _evaluated(record)]
    if not shown:
        return []
    with styled():
        return [progress(shown), spread(shown), sizes(shown)]


def progress(records: Sequence[SweepData]) -> Picture:
    """Draw the best validation accuracy so far of each sweep, by trials and by minutes."""
    picture = Picture(
        "progress",
        "Best so far",
        "The best validation accuracy so far: left by the number of trials that have ended, right "
        "by the minutes since the first one started. The right one is fair only between sweeps "
        "on the same machine.",
        None,
    )
    picture.figure, (left, right) = new_figure(4.2, 1, 2, sharey=True)
    values = []
    for number, record in enumerate(records):
        ended = sorted(_evaluated(record), key=lambda trial: trial.ended or trial.started)
        best = np.maximum.accumulate([trial.metrics[ACCURACY] for trial in ended]).tolist()
        start = min(trial.started for trial in ended)
        minutes = [((t.ended or t.started) - start) / _MINUTE_MS for t in ended]
        colour = SERIES[number % len(SERIES)]
        for axes, places in ((left, list(range(1, len(ended) + 1))), (right, minutes)):
            (line,) = axes.step(
                places, best, where="post", color=colour, lw=1.8, label=printable(record.name, 40)
            )
            axes.plot(
                places[-1], best[-1], SERIES_MARKS[number % len(SERIES_MARKS)], color=colour, ms=6
            )
            after = counted(len(ended), "trial")
            picture.tip(line, [f"{record.name}: {best[-1]:.4f} after {after}"])
        values += best
    value_axis(left.yaxis, ACCURACY, values)
    left.set(xlabel="trials ended", ylabel="best valid/accuracy so far")
    right.set(xlabel="minutes since the first trial started")
    legend_below(left)
    return picture


def spread(records: Sequence[SweepData]) -> Picture:
    """Draw the validation accuracy of all trials of each sweep."""
    picture = Picture(
        "spread",
        "All trials of each sweep",
        "Each mark is a trial at its best validation accuracy; the line is the median, trials that "
        "were stopped early or ran out of time included.",
        None,
    )
    picture.figure, axes = new_figure(1.2 + 0.7 * len(records))
    everything = []
    for number, record in enumerate(records):
        trials = _evaluated(record)
        values = [trial.metrics[ACCURACY] for trial in trials]
        heights = [number + ((k * 0.618034) % 1 - 0.5) * 0.55 for k in range(len(trials))]
        dots = axes.scatter(
            values,
            heights,
            s=26,
            color=SERIES[number % len(SERIES)],
            marker=SERIES_MARKS[number % len(SERIES_MARKS)],
            alpha=0.8,
            edgecolors=GROUND,
            linewidths=0.5,
        )
        picture.tip(dots, [_tooltip(record, trial) for trial in trials])
        axes.plot([float(np.median(values))] * 2, [number - 0.4, number + 0.4], color=INK, lw=1.8)
        everything += values
    value_axis(axes.xaxis, ACCURACY, everything)
    axes.set_yticks(range(len(records)), [printable(record.name, 34) for record in records])
    axes.set_ylim(len(records) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("best valid/accuracy of a trial")
    return picture


def sizes(records: Sequence[SweepData]) -> Picture:
    """Draw the validation accuracy of all trials over their parameters."""
    picture = Picture(
        "sizes",
        "Accuracy against parameters",
        "Each mark is a trial that was evaluated and did not fail.",
        None,
    )
    picture.figure, axes = new_figure(4.2)
    totals, values = [], []
    for number, record in enumerate(records):
        trials = [t for t in _evaluated(record) if t.metrics.get("parameters/total", 0) > 0]
        if not trials:
            continue
        dots = axes.scatter(
            [trial.metrics["parameters/total"] for trial in trials],
            [trial.metrics[ACCURACY] for trial in trials],
            s=28,
            color=SERIES[number % len(SERIES)],
            marker=SERIES_MARKS[number % len(SERIES_MARKS)],
            alpha=0.8,
            edgecolors=GROUND,
            linewidths=0.5,
            label=printable(record.name, 40),
        )
        picture.tip(dots, [_tooltip(record, trial) for trial in trials])
        totals += [trial.metrics["parameters/total"] for trial in trials]
        values += [trial.metrics[ACCURACY] for trial in trials]
    if not totals:
        picture.figure = None
        return picture
    plain_log(axes.xaxis, min(totals), max(totals))
    value_axis(axes.yaxis, ACCURACY, values)
    axes.set(xlabel="parameters", ylabel="best valid/accuracy")
    legend_below(axes)
    return picture


def _evaluated(record: SweepData) -> list[TrialRecord]:
    return [trial for trial in record.ranked if ACCURACY in trial.metrics]


def _tooltip(record: SweepData, trial: TrialRecord) -> str:
    return (
        f"{record.name}: {trial.name}\nvalid/accuracy {trial.metrics[ACCURACY]:.4f}\n"
        f"{settings_text(record.settings_of(trial))}"
    )
