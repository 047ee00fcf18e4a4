"""The time line of a sweep: which worker ran which trial when."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.axes import legend_below
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.theme import GROUND, OUTCOME_COLOURS, WINNER, new_drawing
from sweeps.reporting.figures.trial_points import tooltip
from sweeps.trials.outcomes import label_of

_SECOND_MS = 1000.0
_LANE_SLACK_MS = 500  # a worker's next trial may be noted before its last one's end is


def timeline(record: SweepData) -> ReportFigure:
    """Draw when each trial ran, in as many lanes as ran at once."""
    figure = ReportFigure(
        "timeline",
        "Time line of the trials over the workers",
        "Each bar is a trial from the start to the end of its run, in a lane that was "
        "free. Gaps are time in which a worker had nothing to do. The number is the trial's.",
    )
    ended = [trial for trial in record.trials if trial.ended is not None]
    if not ended:
        return figure.not_drawn("no trial has ended")
    lanes = assign_lanes([(trial.started, int(trial.ended or 0)) for trial in ended])
    count = max(lanes) + 1
    origin = min(trial.started for trial in ended)
    whole = max(int(t.ended or 0) for t in ended) - origin
    unit, name = (60 * _SECOND_MS, "minutes") if whole > 180 * _SECOND_MS else (1000.0, "seconds")
    figure.drawing, axes = new_drawing(1.3 + 0.42 * min(count, 24))
    named = set()
    for trial, lane in zip(ended, lanes, strict=True):
        start, length = (trial.started - origin) / unit, (int(trial.ended or 0) - trial.started)
        outcome = trial.outcome or "running"
        is_winner = record.winner is not None and trial.run_id == record.winner.run_id
        (bar,) = axes.barh(
            lane,
            length / unit,
            left=start,
            height=0.8,
            color=WINNER if is_winner else OUTCOME_COLOURS[outcome],
            edgecolor=GROUND,
            lw=0.8,
            label=None if outcome in named or is_winner else label_of(outcome),
        )
        if is_winner:
            bar.set_label("the winner")
        named |= set() if is_winner else {outcome}
        figure.add_tooltips(bar, [tooltip(record, trial)])
        taken = [(each.at - origin) / unit for each in trial.takeovers]
        axes.plot(taken, [lane] * len(taken), "|", color=GROUND, ms=13, mew=2)
        if length > 0.018 * whole:
            axes.text(
                start + length / unit / 2, lane, str(trial.key), ha="center", va="center",
                fontsize=7.5, color=GROUND, clip_on=True,
            )  # fmt: skip
    busy = sum(int(t.ended or 0) - t.started for t in ended) / (count * whole) if whole else 1.0
    figure.notes.append(
        f"{count} at once at most, busy for {busy:.0%} of the time between the first start and "
        "the last end. Lanes follow from the times of the runs."
    )
    takes_turns = any(trial.takeovers for trial in ended)
    if takes_turns:
        figure.notes.append(
            "Trials of a population take turns, so there are more lanes than workers. A gap in a "
            "bar: there the trial took over the weights of another."
        )
    lane_name = "lane" if takes_turns else "worker"
    axes.set_yticks(range(count), [f"{lane_name} {lane + 1}" for lane in range(count)])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"{name} since the first trial started")
    legend_below(axes)
    return figure


def assign_lanes(spans: Sequence[tuple[int, int]]) -> list[int]:
    """Return a lane for each span of milliseconds, so that as few lanes as possible are used.

    Spans that overlap by no more than half a second may follow one another in a lane.
    """
    free_at: list[int] = []
    lanes = [0] * len(spans)
    for index in sorted(range(len(spans)), key=lambda number: spans[number]):
        start, end = spans[index]
        free = [lane for lane, at in enumerate(free_at) if at <= start + _LANE_SLACK_MS]
        if free:
            # The lane that was free last: its worker is the one that has just become free.
            lane = max(free, key=lambda number: free_at[number])
            free_at[lane] = end
        else:
            lane = len(free_at)
            free_at.append(end)
        lanes[index] = lane
    return lanes
