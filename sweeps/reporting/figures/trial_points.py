"""Trials as points: their marks and their tooltips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.theme import GROUND, INK, OUTCOME_COLOURS, OUTCOME_MARKS, WINNER
from sweeps.reporting.leaderboard import settings_text
from sweeps.tracking.queries import TrialRecord
from sweeps.trials.outcomes import OUTCOMES, label_of


def tooltip(record: SweepData, trial: TrialRecord) -> str:
    """Return the tooltip of a trial's mark: name, result, outcome, settings."""
    value = trial.metrics.get(record.best_key)
    shown = "not evaluated" if value is None else f"{record.objective} {value:.4f}"
    return "\n".join(
        (
            trial.name,
            f"{shown}, {label_of(trial.outcome or 'running')}, "
            f"{trial.metrics.get('seconds/total', 0):.0f} s",
            settings_text(record.settings_of(trial)),
        )
    )


def scatter(
    figure: ReportFigure,
    axes: Axes,
    record: SweepData,
    trials: Sequence[TrialRecord],
    place: Any,
    size: float = 30,
    metric: str | None = None,
) -> None:
    """Draw one mark for each trial, by outcome, the winner on top."""
    metric = metric or record.best_key
    winner = record.winner.run_id if record.winner else None
    for outcome in reversed(OUTCOMES):
        group = [t for t in trials if (t.outcome or "running") == outcome and t.run_id != winner]
        if not group:
            continue
        dots = axes.scatter(
            [place(trial) for trial in group],
            [trial.metrics[metric] for trial in group],
            s=size,
            marker=OUTCOME_MARKS[outcome],
            color=OUTCOME_COLOURS[outcome],
            alpha=0.85,
            linewidths=0.6,
            edgecolors=GROUND,
            label=label_of(outcome),
            zorder=3,
        )
        figure.add_tooltips(dots, [tooltip(record, trial) for trial in group])
    for trial in trials:
        if trial.run_id == winner:
            dots = axes.scatter(
                [place(trial)], [trial.metrics[metric]], s=size * 3.6, marker="*", color=WINNER,
                edgecolors=INK, linewidths=0.7, label="the winner", zorder=5,
            )  # fmt: skip
            figure.add_tooltips(dots, [tooltip(record, trial)])
