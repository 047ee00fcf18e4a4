"""Pictures of a search: how it went, what it found, what mattered."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sentiment.wording import counted
from sweeps.analysis.importance import BEST_SHARE, LEAST_TRIALS, importances
from sweeps.analysis.sweep_data import SweepRecord
from sweeps.reporting.figures.drawing import (
    BLUE,
    GREEN,
    GROUND,
    INK,
    MUTED,
    ORANGE,
    OUTCOME_COLOURS,
    OUTCOME_MARKS,
    WINNER,
    Picture,
    legend_below,
    new_figure,
    plain_log,
    printable,
    styled,
    thousands,
    value_axis,
)
from sweeps.reporting.leaderboard import setting_text, settings_text
from sweeps.space.dimensions import Choice, Dimension, FloatRange, IntRange
from sweeps.tracking.queries import TrialRecord
from sweeps.trials.outcomes import OUTCOMES, RANKED, label_of

HIGHLIGHTED = 5
"""Trials that the parallel coordinates bring out."""

_SECOND_MS = 1000.0
_LANE_SLACK_MS = 500  # a worker's next trial may be noted before its last one's end is
_LETTERS_OF_A_SLICE = 30  # more of them do not fit under it side by side
_SPREAD = 0.35  # of a slice's width, how far equal values are spread


def search_pictures(record: SweepRecord) -> list[Picture]:
    """Return the pictures of a search, in the order of a report."""
    with styled():
        return [
            history(record),
            curves(record),
            parameters(record),
            seconds(record),
            importance(record),
            slices(record),
            parallel(record),
            timeline(record),
        ]


def history(record: SweepRecord) -> Picture:
    """Draw each trial's best value in the order of the trials, and the best so far."""
    picture = Picture(
        "history",
        "Optimisation history",
        "Each mark is a trial, at the value of its best checkpoint; the line is the best so far. "
        "A line that still climbs at the right end says that more trials would have paid.",
        None,
    )
    scored = [trial for trial in record.trials if record.best_key in trial.metrics]
    if not scored:
        return _nothing(picture, "no trial was evaluated")
    picture.figure, axes = new_figure(4.0)
    _scatter(picture, axes, record, scored, lambda trial: trial.key)
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
    return picture


def curves(record: SweepRecord) -> Picture:
    """Draw the objective of all trials over the training examples seen."""
    picture = Picture(
        "curves",
        "Learning curves",
        f"{record.objective} of every trial as it trains, coloured by how the trial ended. Orange "
        "lines end at a rung, where the scheduler stopped the weaker half. Lines that rise late "
        "and end orange are what an impatient scheduler costs."
        + (
            " Brown lines end where the sweep's time budget was used up."
            if "out_of_time" in record.outcomes
            else ""
        ),
        None,
    )
    drawn = [trial for trial in record.trials if record.curves[trial.run_id]]
    if not drawn:
        return _nothing(picture, "no trial was evaluated")
    picture.figure, axes = new_figure(4.4)
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
        picture.tip(line, [_tooltip(record, trial)])
    thousands(axes.xaxis)
    value_axis(
        axes.yaxis,
        record.objective,
        (value for trial in drawn for value in record.curves[trial.run_id].values()),
    )
    axes.set(xlabel="training examples seen", ylabel=record.objective)
    legend_below(axes)
    return picture


def parameters(record: SweepRecord) -> Picture:
    """Draw validation accuracy over the size of the model, with the Pareto front."""
    picture = Picture(
        "parameters",
        "Accuracy against parameters",
        "Left: all parameters; word vectors are most of them. Right: without the word vectors, "
        "what the recurrent layers and the head add. The line is the Pareto front: no trial is "
        "both smaller and more accurate than one on it.",
        None,
    )
    shown = [t for t in record.ranked if "parameters/total" in t.metrics]
    if not shown:
        return _nothing(picture, "no trial has recorded its size")
    picture.figure, (left, right) = new_figure(4.2, 1, 2, sharey=True)

    def without_vectors(trial: TrialRecord) -> float:
        metrics = trial.metrics
        return metrics["parameters/total"] - metrics.get("parameters/embedding", 0.0)

    for axes, size, label in (
        (left, lambda trial: trial.metrics["parameters/total"], "parameters"),
        (right, without_vectors, "parameters without word vectors"),
    ):
        _tradeoff(picture, axes, record, shown, size)
        axes.set_xlabel(label)
    left.set_ylabel("best valid/accuracy")
    legend_below(left, right)
    return picture


def seconds(record: SweepRecord) -> Picture:
    """Draw validation accuracy over the seconds of training, with the Pareto front."""
    picture = Picture(
        "seconds",
        "Accuracy against training time",
        "Seconds of a trial's training and evaluation in its worker; trials that did not run to "
        "their end are cheap for that reason. The line is the Pareto front.",
        None,
    )
    shown = [t for t in record.ranked if t.metrics.get("seconds/total", 0) > 0]
    if not shown:
        return _nothing(picture, "no trial has recorded its time")
    picture.figure, axes = new_figure(3.9)
    _tradeoff(picture, axes, record, shown, lambda trial: trial.metrics["seconds/total"])
    axes.set(xlabel="training seconds", ylabel="best valid/accuracy")
    legend_below(axes)
    return picture


def importance(record: SweepRecord) -> Picture:
    """Draw the importance of each hyperparameter, for each budget that has enough trials."""
    picture = Picture(
        "importance",
        "What mattered: importance of each hyperparameter",
        "Bars: the share of the variation between trials that a hyperparameter explains by itself "
        "(fANOVA). Diamonds: how much its values among the best quarter differ from all trials' "
        "(PED-ANOVA). Where both are long, it mattered; where they disagree, distrust both. "
        "Only trials of about the same number of training examples are compared.",
        None,
    )
    found = []
    for budget in record.budgets():
        result = importances(record, budget)
        count = len(budget.values)
        which = f"{budget.name} ({budget.examples:,} examples)"
        if result is None:
            few = counted(count, "comparable trial is", "comparable trials are")
            picture.notes.append(
                f"{which}: {few} too few or too alike to tell; {LEAST_TRIALS} are needed."
            )
            continue
        found.append(result)
        left_out = f"; fANOVA leaves out {', '.join(result.conditional)}, which only some have"
        picture.notes.append(
            f"{which}: {count} of {counted(len(record.trials), 'trial')}"
            + (left_out if result.conditional else "")
            + "."
        )
    if not found:
        return picture
    names = sorted(
        {name for result in found for name in result.best},
        key=lambda name: sum(r.variance.get(name, 0) + r.best.get(name, 0) for r in found),
    )
    picture.figure, panels = new_figure(
        0.9 + 0.3 * len(names), 1, len(found), sharey=True, squeeze=False
    )
    for axes, result in zip(panels[0], found, strict=True):
        places = range(len(names))
        shares = [result.variance.get(name, 0.0) for name in names]
        bars = axes.barh(places, shares, height=0.62, color=BLUE, label="fANOVA")
        for bar, name, share in zip(bars, names, shares, strict=True):
            picture.tip(bar, [f"{name}: {share:.1%} of the variance"])
        marks = [result.best.get(name, 0.0) for name in names]
        dots = axes.scatter(
            marks, places, marker="D", s=34, color=ORANGE, edgecolor=GROUND, label="PED-ANOVA",
            zorder=3,
        )  # fmt: skip
        picture.tip(
            dots,
            [
                f"{name}: {share:.1%} of what sets the best {BEST_SHARE:.0%} apart"
                for name, share in zip(names, marks, strict=True)
            ],
        )
        axes.set_yticks(list(places), [printable(name) for name in names])
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlim(0, None)
        axes.set_title(f"{result.budget.name}, {len(result.budget.values)} trials")
        axes.set_xlabel("share of importance")
    legend_below(panels[0][0])
    return picture


def slices(record: SweepRecord) -> Picture:
    """Draw the objective over each hyperparameter by itself."""
    picture = Picture(
        "slices",
        "Slices: the objective over each hyperparameter",
        "One panel a hyperparameter, one mark a trial. A trend in the upper edge of a panel is "
        "what to look for: the sampler tried more where it found good values, so the number of "
        "marks is a result of the search. Bars are medians of the trials that ran to their end.",
        None,
    )
    names = list(record.space.dimensions)
    scored = record.ranked
    if not names or not scored:
        return _nothing(picture, "nothing was searched" if scored else "no trial was evaluated")
    columns = 3
    rows = math.ceil(len(names) / columns)
    picture.figure, panels = new_figure(2.2 * rows + 0.5, rows, columns, sharey=True, squeeze=False)
    active = record.active
    for axes, name in zip(panels.flat, names, strict=False):
        dimension = record.space.dimensions[name]
        shown = [trial for trial in scored if name in active[trial.run_id]]
        values = {trial.run_id: active[trial.run_id][name] for trial in shown}
        places = _places(axes, dimension, values)
        _scatter(picture, axes, record, shown, lambda t, p=places: p[t.run_id], size=20)
        _medians(axes, record, dimension, shown, values)
        value_axis(axes.yaxis, record.objective, (t.metrics[record.best_key] for t in scored))
        axes.set_title(printable(name, 30))
    for axes in panels.flat[len(names) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel(f"best {record.objective}")
    legend_below(*panels.flat)
    return picture


def parallel(record: SweepRecord) -> Picture:
    """Draw each trial as a line through its settings."""
    picture = Picture(
        "parallel",
        "Parallel coordinates",
        f"Each line is a trial, through the values of its settings to its result at the right. "
        f"The {HIGHLIGHTED} best are thick, the winner in its own colour; the others are thin. "
        "Where the thick lines run together, the search has settled. "
        "At the dash below an axis the setting had no effect in that trial.",
        None,
    )
    names = list(record.space.dimensions)
    if not names or not record.ranked:
        return _nothing(picture, "nothing to draw: no trial was evaluated, or nothing was searched")
    picture.figure, axes = new_figure(4.9)
    results = [trial.metrics[record.best_key] for trial in record.ranked]
    heights = {name: _height(record.space.dimensions[name]) for name in names}
    low, high = min(results), max(results)
    rank = {trial.run_id: number for number, trial in enumerate(record.ranked)}
    jitter = np.random.default_rng(0)
    for trial in reversed(record.ranked):
        settings = record.settings_of(trial)
        line = [heights[name](settings[name]) if name in settings else -0.12 for name in names]
        # Equal choices would lie upon one another.
        spread = [
            jitter.uniform(-0.018, 0.018)
            if isinstance(record.space.dimensions[name], Choice)
            else 0.0
            for name in names
        ]
        value = trial.metrics[record.best_key]
        line = [*np.add(line, spread), _stretched(record, value, low, high)]
        place = rank[trial.run_id]
        top = place < HIGHLIGHTED
        outcome = trial.outcome or "running"
        (drawn,) = axes.plot(
            range(len(line)),
            line,
            color=WINNER if place == 0 else OUTCOME_COLOURS[outcome],
            lw=2.8 if place == 0 else 2.0 if top else 0.9,
            alpha=1.0 if top else 0.38,
            zorder=5 if place == 0 else 4 if top else 3,
        )
        picture.tip(drawn, [_tooltip(record, trial)])
    for place, name in enumerate(names):
        axes.axvline(place, color=MUTED, lw=0.9, zorder=2)
        for text, height in _marks(record.space.dimensions[name]):
            axes.text(
                place + 0.04, height, printable(text, 12), fontsize=8, va="center", zorder=6,
                bbox={"facecolor": GROUND, "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
            )  # fmt: skip
        if record.space.dimensions[name].when:
            axes.text(place + 0.04, -0.12, "–", fontsize=8, va="center", zorder=6)
    axes.axvline(len(names), color=INK, lw=1.2, zorder=2)
    for value in _result_marks(record, low, high):
        height = _stretched(record, value, low, high)
        axes.text(len(names) + 0.06, height, f"{value:.4g}", fontsize=8, va="center")
    axes.set_xticks(
        range(len(names) + 1),
        [printable(name, 22) for name in names] + [record.objective],
        rotation=28,
        ha="right",
    )
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.set_xlim(-0.1, len(names) + 0.55)
    axes.set_ylim(-0.18, 1.06)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return picture


def timeline(record: SweepRecord) -> Picture:
    """Draw when each trial ran, in as many lanes as ran at once."""
    picture = Picture(
        "timeline",
        "Time line of the trials over the workers",
        "Each bar is a trial from the start to the end of its run, in a lane that was "
        "free. Gaps are time in which a worker had nothing to do. The number is the trial's.",
        None,
    )
    ended = [trial for trial in record.trials if trial.ended is not None]
    if not ended:
        return _nothing(picture, "no trial has ended")
    lanes = assign_lanes([(trial.started, int(trial.ended or 0)) for trial in ended])
    count = max(lanes) + 1
    origin = min(trial.started for trial in ended)
    whole = max(int(t.ended or 0) for t in ended) - origin
    unit, name = (60 * _SECOND_MS, "minutes") if whole > 180 * _SECOND_MS else (1000.0, "seconds")
    picture.figure, axes = new_figure(1.3 + 0.42 * min(count, 24))
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
        picture.tip(bar, [_tooltip(record, trial)])
        if length > 0.018 * whole:
            axes.text(
                start + length / unit / 2, lane, str(trial.key), ha="center", va="center",
                fontsize=7.5, color=GROUND, clip_on=True,
            )  # fmt: skip
    busy = sum(int(t.ended or 0) - t.started for t in ended) / (count * whole) if whole else 1.0
    picture.notes.append(
        f"{count} at once at most, busy for {busy:.0%} of the time between the first start and "
        "the last end. Lanes follow from the times of the runs."
    )
    axes.set_yticks(range(count), [f"worker {lane + 1}" for lane in range(count)])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"{name} since the first trial started")
    legend_below(axes)
    return picture


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


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that none beats in both a small cost and a large value, by cost.

    Of points of equal cost the largest value stays; equal points stay once.
    """
    front: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or value > front[-1][1]:
            front.append((cost, value))
    return front


def _nothing(picture: Picture, why: str) -> Picture:
    picture.notes.append(f"Not drawn: {why}.")
    return picture


def _tooltip(record: SweepRecord, trial: TrialRecord) -> str:
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


def _scatter(
    picture: Picture,
    axes: Axes,
    record: SweepRecord,
    trials: Sequence[TrialRecord],
    place: Any,
    size: float = 30,
    metric: str | None = None,
) -> None:
    """Draw a mark a trial, by outcome, the winner on top."""
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
        picture.tip(dots, [_tooltip(record, trial) for trial in group])
    for trial in trials:
        if trial.run_id == winner:
            dots = axes.scatter(
                [place(trial)], [trial.metrics[metric]], s=size * 3.6, marker="*", color=WINNER,
                edgecolors=INK, linewidths=0.7, label="the winner", zorder=5,
            )  # fmt: skip
            picture.tip(dots, [_tooltip(record, trial)])


def _tradeoff(
    picture: Picture, axes: Axes, record: SweepRecord, trials: Sequence[TrialRecord], cost: Any
) -> None:
    metric = "best/valid/accuracy"
    shown = [trial for trial in trials if metric in trial.metrics]
    front = pareto_front((cost(trial), trial.metrics[metric]) for trial in shown)
    _scatter(picture, axes, record, shown, cost, metric=metric)
    x, y = zip(*front, strict=True)
    axes.step(x, y, where="post", color=GREEN, lw=1.6, label="Pareto front", zorder=2)
    value_axis(axes.yaxis, metric, (trial.metrics[metric] for trial in shown))
    plain_log(axes.xaxis, min(map(cost, shown)), max(map(cost, shown)))


def _places(axes: Axes, dimension: Dimension, values: dict[str, Any]) -> dict[str, float]:
    """Set up the horizontal axis of a slice, and return where each trial stands on it."""
    if isinstance(dimension, Choice):
        order = list(dimension.values)
        labels = [printable(setting_text(value), 12) for value in order]
        crowded = sum(map(len, labels)) > _LETTERS_OF_A_SLICE
        axes.set_xticks(range(len(order)), labels)
        if crowded:
            axes.tick_params(axis="x", labelrotation=20)
        axes.set_xlim(-0.6, len(order) - 0.4)
        return _spread({run: float(order.index(value)) for run, value in values.items()}, 1.0)
    low, high = dimension.low, dimension.high
    if isinstance(dimension, IntRange) and high - low <= 8 * dimension.step and not dimension.log:
        step = dimension.step
        axes.set_xticks(list(range(int(low), int(high) + 1, step)))
        axes.set_xlim(low - 0.6 * step, high + 0.6 * step)
        return _spread({run: float(value) for run, value in values.items()}, float(step))
    if dimension.log:
        plain_log(axes.xaxis, low, high)
    else:
        axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    return {run: float(value) for run, value in values.items()}


def _spread(places: dict[str, float], step: float) -> dict[str, float]:
    """Spread marks at equal places a little, evenly and always alike."""
    found = dict(places)
    for place in set(places.values()):
        here = [run for run, value in places.items() if value == place]
        for number, run in enumerate(here):
            share = (number * 0.618034) % 1.0 - 0.5  # the golden ratio fills a gap evenly
            found[run] = place + step * _SPREAD * 2 * share
    return found


def _medians(
    axes: Axes,
    record: SweepRecord,
    dimension: Dimension,
    trials: Sequence[TrialRecord],
    values: dict[str, Any],
) -> None:
    if not isinstance(dimension, Choice):
        return
    for place, choice in enumerate(dimension.values):
        results = [
            trial.metrics[record.best_key]
            for trial in trials
            if values[trial.run_id] == choice and trial.outcome == "completed"
        ]
        if len(results) > 1:
            middle = float(np.median(results))
            axes.plot([place - 0.38, place + 0.38], [middle] * 2, color=MUTED, lw=2.2, zorder=2.5)


def _height(dimension: Dimension) -> Any:
    """Return the function from a setting's value to its height, 0 to 1, on its axis."""
    match dimension:
        case Choice(values):
            last = max(len(values) - 1, 1)
            return lambda value: values.index(value) / last
        case IntRange(low, high, log) | FloatRange(low, high, log):
            if log:
                return lambda value: math.log(value / low) / max(math.log(high / low), 1e-12)
            return lambda value: (value - low) / max(high - low, 1e-12)


def _marks(dimension: Dimension) -> list[tuple[str, float]]:
    """Return what stands beside an axis of the parallel coordinates, and where."""
    height = _height(dimension)
    if isinstance(dimension, Choice):
        return [(setting_text(value), height(value)) for value in dimension.values]
    low, high = dimension.low, dimension.high
    if isinstance(dimension, IntRange) and high - low <= 4 * dimension.step:
        values: list[float] = list(range(int(low), int(high) + 1, dimension.step))
    elif dimension.log:
        decades = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
        values = [10.0**power for power in decades] if len(decades) > 1 else [low, high]
    else:
        values = [low, (low + high) / 2, high]
    return [(setting_text(value), height(value)) for value in values]


def _stretched(record: SweepRecord, value: float, low: float, high: float) -> float:
    """Return the height of a result, 0 to 1, the better the higher."""
    if high == low:
        return 0.5
    if record.objective == "valid/loss":
        return (high - value) / (high - low)
    full = 1.004
    return math.log((full - low) / (full - value)) / math.log((full - low) / (full - high))


def _result_marks(record: SweepRecord, low: float, high: float) -> list[float]:
    """Return results to write beside the last axis, apart from one another."""
    candidates = [high, low, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 0.98]
    if record.objective == "valid/loss":
        candidates = [low, high, (low + high) / 2]
    kept: list[float] = []
    for value in candidates:
        place = _stretched(record, value, low, high) if low <= value <= high else -1
        if place >= 0 and all(
            abs(place - _stretched(record, other, low, high)) > 0.06 for other in kept
        ):
            kept.append(value)
    return kept
