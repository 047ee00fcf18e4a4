"""The leaderboard as people read it: on a terminal and in a page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from sweeps.analysis.sweep_data import SweepData
from sweeps.objectives import LATENCY, METRICS
from sweeps.reporting.tables import PageTable
from sweeps.terminal import Column, FittedTable, fitted_table
from sweeps.tracking.queries import TrialRecord, best_finalists
from sweeps.trials.outcomes import label_of

_NAMED = ("cell", "layers", "bidirectional", "hidden_dim", "embedding", "optimizer")
"""Settings that a run's name contains already."""
NAME_WIDTH = 32
"""Characters that a name takes at most; those of confirmations are longer."""
TRAINED, BEST_AT = "epochs trained", "best epoch"
"""Headings: epochs that a trial was trained, and after how many its best checkpoint was taken."""


@dataclass(frozen=True)
class Row:
    """One run of a leaderboard.

    Attributes:
        rank: from 1; None for what is not ranked.
        trial: the trial.
        settings: what was searched of it and had an effect.
    """

    rank: int | None
    trial: TrialRecord
    settings: dict[str, Any]


def rows(record: SweepData) -> list[Row]:
    """Return what is registered and the finalists, the ranked trials, and the others.

    These are trials without a rank, confirmations, and baselines by their results.
    """
    ranked = record.ranked
    ranks = {trial.run_id: rank for rank, trial in enumerate(ranked, start=1)}
    rest = [trial for trial in record.trials if trial.run_id not in ranks]
    worst = -record.sign * float("inf")
    beside = sorted(
        record.baselines,
        key=lambda trial: -record.sign * trial.metrics.get(record.best_key, worst),
    )
    return [
        Row(ranks.get(trial.run_id), trial, record.settings_of(trial))
        for trial in [*_finals(record), *ranked, *rest, *record.confirmations, *beside]
    ]


def _finals(record: SweepData) -> list[TrialRecord]:
    """Return what is registered if it is no trial, the finalists by their rank, and the others.

    A refit has the metrics of its own run, so none on validation, which it was trained on.
    """
    winner = record.winner
    order = [] if winner is None else [winner.run_id]
    order += [trial.run_id for trial in best_finalists(record.finals, record.objective)]
    return sorted(
        record.finals,
        key=lambda trial: order.index(trial.run_id) if trial.run_id in order else len(order),
    )


def terminal_table(record: SweepData, limit: int, width: int) -> FittedTable:
    """Return the leaderboard for a terminal.

    Args:
        record: the sweep.
        limit: trials of the search at most; all else is there in any case.
        width: of the terminal; in a narrow one settings and cost are left out.
    """
    everything = rows(record)
    trials = [row for row in everything if row.trial.role == "trial"]
    left_out = {row.trial.run_id for row in trials[limit:]}
    shown = [row for row in everything if row.trial.run_id not in left_out]
    names = [name for name in record.space.dimensions if name not in _NAMED]

    def numbers(values: Iterable[float | None], form: str) -> list[str]:
        return [number_text(value, form) for value in values]

    def metric(name: str, form: str) -> list[str]:
        return numbers((row.trial.metrics.get(name) for row in shown), form)

    named = ("trial", "finalist", "refit")
    longest = max((len(row.trial.name) for row in shown if row.trial.role in named), default=1)
    outcomes = [
        label_of(row.trial.outcome or "running") if row.trial.role == "trial" else row.trial.role
        for row in shown
    ]
    columns = [
        Column("rank", ["" if row.rank is None else str(row.rank) for row in shown], right=True),
        Column("trial", [row.trial.name for row in shown], most=min(longest, NAME_WIDTH)),
        *(
            Column(
                name,
                [setting_text(row.settings[name]) if name in row.settings else "" for row in shown],
                right=True,
                spare=len(names) - place,
            )
            for place, name in enumerate(names)
        ),
        Column(record.objective, metric(record.best_key, ".4f"), right=True),
    ]
    if any("test/accuracy" in row.trial.metrics for row in shown):
        columns.append(Column("test", metric("test/accuracy", ".4f"), right=True))
    if LATENCY in record.objectives.further:
        columns.append(Column("ms", metric(METRICS[LATENCY], ".2f"), right=True))
    best_at = numbers((record.best_epoch(row.trial) for row in shown), ".2f")
    cost = len(names)
    columns += [
        Column(TRAINED, metric("epoch", ".2f"), right=True, spare=cost + 4),
        Column(BEST_AT, best_at, right=True, spare=cost + 3),
        Column("parameters", metric("parameters/total", ",.0f"), right=True, spare=cost + 1),
        Column("seconds", metric("seconds/total", ",.0f"), right=True, spare=cost + 2),
        Column("outcome", outcomes),
    ]
    return fitted_table(columns, width, gap=1)


def fitted_page_table(table: PageTable, width: int) -> Table:
    """Return a page's table for a terminal of that width."""
    return fitted_table(
        [
            Column(
                heading.removeprefix("#"),
                [row[place].text for row in table.rows],
                right=heading.startswith("#"),
            )
            for place, heading in enumerate(table.columns)
        ],
        width,
    ).table


def setting_text(value: Any) -> str:
    """Return a setting's value short: four digits of a number, `true`, `none`."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return settings in one line: `cell=gru learning_rate=0.002`."""
    return " ".join(setting_parts(settings))


def setting_parts(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as `--set` takes them, each by itself."""
    return [f"{name}={setting_text(value)}" for name, value in settings.items()]


def number_text(value: float | None, form: str) -> str:
    """Return a number in a form, or nothing where there is none."""
    return "" if value is None else format(value, form)
