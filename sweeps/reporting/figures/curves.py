"""Learning curves of all trials of a search."""

from __future__ import annotations

from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.axes import legend_below, thousands, value_axis
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.theme import OUTCOME_COLOURS, OUTCOME_MARKS, WINNER, new_drawing
from sweeps.reporting.figures.trial_points import tooltip
from sweeps.trials.outcomes import label_of


def curves(record: SweepData) -> ReportFigure:
    """Draw the objective of all trials over the training examples seen."""
    figure = ReportFigure(
        "curves",
        "Learning curves",
        f"{record.objective} of every trial as it trains, coloured by how the trial ended. Orange "
        "lines end where the scheduler stopped them. Lines that rise late "
        "and end orange are what an impatient scheduler costs."
        + (
            " Brown lines end where the sweep's time budget was used up."
            if "out_of_time" in record.outcomes
            else ""
        ),
    )
    drawn = [trial for trial in record.trials if record.curves[trial.run_id]]
    if not drawn:
        return figure.not_drawn("no trial was evaluated")
    figure.drawing, axes = new_drawing(4.4)
    named = set()
    for trial in drawn:
        steps, values = zip(*record.curves[trial.run_id].items(), strict=True)
        outcome = trial.outcome or "running"
        is_winner = record.winner is not None and trial.run_id == record.winner.run_id
        (line,) = axes.plot(
            steps,
            values,
            color=WINNER if is_winner else OUTCOME_COLOURS[outcome],
            lw=2.6 if is_winner else 1.2,
            alpha=1.0 if is_winner else 0.65,
            marker=OUTCOME_MARKS[outcome] if len(steps) == 1 or outcome != "completed" else None,
            markevery=[-1],
            ms=4.5,
            zorder=4 if is_winner else 3,
            label=None if is_winner or outcome in named else label_of(outcome),
        )
        if is_winner:
            line.set_label("the winner")
        named |= set() if is_winner else {outcome}
        figure.add_tooltips(line, [tooltip(record, trial)])
    thousands(axes.xaxis)
    value_axis(
        axes.yaxis,
        record.objective,
        (value for trial in drawn for value in record.curves[trial.run_id].values()),
    )
    axes.set(xlabel="training examples seen", ylabel=record.objective)
    legend_below(axes)
    return figure
