"""The Pareto front of a sweep of several objectives, and its winner's limits, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sentiment.objective import best_key
from sweeps.objectives import METRICS, Objectives, cost_text
from sweeps.reporting.tables import Cell, PageTable
from sweeps.tracking.queries import TrialRecord, nearest_run, within_limits
from sweeps.trials.outcomes import label_of


def front_table(front: Sequence[TrialRecord], objectives: Objectives) -> PageTable:
    """Return the trials of a front with their objectives, and which of them keep the limits.

    Args:
        front: of `sweeps.tracking.queries.front_of`.
        objectives: what was searched.
    """
    within = {trial.run_id for trial in within_limits(front, objectives.limits)}
    limited = bool(objectives.limits)
    return PageTable(
        columns=[
            "trial",
            *(f"#{name}" for name in objectives.names),
            *(["within limits"] if limited else []),
            "outcome",
        ],
        rows=[
            [
                Cell(trial.name),
                *_values(trial, objectives),
                *([Cell("yes" if trial.run_id in within else "no")] if limited else []),
                Cell(label_of(str(trial.outcome)), kind=trial.outcome),
            ]
            for trial in front
        ],
        sortable=True,
    )


def _values(trial: TrialRecord, objectives: Objectives) -> list[Cell]:
    first = trial.metrics[best_key(objectives.first)]
    costs = objectives.costs(trial.metrics)
    further = [Cell(cost_text(name, value), value) for name, value in costs.items()]
    return [Cell(f"{first:.4f}", first), *further]


def limits_text(objectives: Objectives) -> str:
    """Return the limits as they were given: `latency=5ms, parameters=2M`."""
    return ", ".join(map(str, objectives.limits))


def none_within(trials: Sequence[TrialRecord], objectives: Objectives) -> str | None:
    """Return a sentence that no trial keeps the limits, and which is the nearest.

    None where one keeps them, or none was evaluated.
    """
    nearest = nearest_run(trials, objectives.first, objectives.limits)
    if nearest is None or within_limits([nearest], objectives.limits):
        return None
    known = objectives.costs(nearest.metrics)
    over = [
        f"{limit.objective} {cost_text(limit.objective, known[limit.objective])}"
        if limit.objective in known
        else f"no {METRICS[limit.objective]}"
        for limit in objectives.limits
        if limit.excess(nearest.metrics) > 0
    ]
    reached = nearest.metrics[best_key(objectives.first)]
    return (
        f"no trial is within {limits_text(objectives)}, so nothing is registered; the nearest is "
        f"{nearest.name}: {', '.join(over)}, {objectives.first} {reached:.4f}"
    )


def front_plain(front: Sequence[TrialRecord], objectives: Objectives) -> dict[str, Any]:
    """Return a front as plain values, with all objectives and the limits; nothing of one."""
    if not objectives.further:
        return {}
    return {
        "objectives": list(objectives.names),
        "limits": list(map(str, objectives.limits)),
        "front": [
            {
                "trial": trial.key,
                "run_id": trial.run_id,
                objectives.first: trial.metrics[best_key(objectives.first)],
                **objectives.costs(trial.metrics),
            }
            for trial in front
        ],
    }
