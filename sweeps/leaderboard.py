"""The leaderboard as people read it: on a terminal and in a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from sweeps.grid import Grid
from sweeps.history import TrialRecord
from sweeps.outcomes import label_of
from sweeps.sweep_record import SweepRecord

_NAMED = ("cell", "layers", "bidirectional", "hidden_dim", "embedding", "optimizer")
"""Settings that a run's name tells already."""
_WIDE = 110
"""Columns of a terminal from which on it shows all settings."""


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

    def metric(self, name: str) -> float | None:
        """Return a metric, if it was recorded."""
        return self.trial.metrics.get(name)


def rows(record: SweepRecord) -> list[Row]:
    """Return the ranked trials, those without a rank, confirmations, baselines by their results."""
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
        for trial in [*ranked, *rest, *record.confirmations, *beside]
    ]


def terminal_table(record: SweepRecord, limit: int, width: int) -> Table:
    """Return the leaderboard for a terminal.

    Args:
        record: the sweep.
        limit: trials at most; confirmations and baselines are added.
        width: of the terminal; in a narrow one the settings that no name tells are left out.
    """
    everything = rows(record)
    shown = [row for row in everything if row.trial.role == "trial"][:limit]
    shown += [row for row in everything if row.trial.role != "trial"]
    tested = any("test/accuracy" in row.trial.metrics for row in shown)
    wide = width >= _WIDE
    names = [name for name in record.space.dimensions if name not in _NAMED] if wide else []
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("rank" if wide else "", justify="right", no_wrap=True)
    table.add_column("trial", no_wrap=True, overflow="ellipsis")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    numbers: dict[str, tuple[str, str]] = {record.objective: (record.best_key, ".4f")}
    if tested:
        numbers["test"] = ("test/accuracy", ".4f")
    if wide:
        numbers |= {"parameters": ("parameters/total", ",.0f")}
        numbers |= {"seconds": ("seconds/total", ",.0f")}
    for title in numbers:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for row in shown:
        is_trial = row.trial.role == "trial"
        cells = [
            "" if row.rank is None else str(row.rank),
            row.trial.name,
            *(setting_text(row.settings[n]) if n in row.settings else "" for n in names),
            *(number_text(row.metric(metric), form) for metric, form in numbers.values()),
            label_of(row.trial.outcome or "running") if is_trial else row.trial.role,
        ]
        table.add_row(*map(Text, cells))
    return table


def grid_table(grid: Grid) -> Table:
    """Return a page's table for a terminal."""
    table = Table(box=None, pad_edge=False, title_justify="left")
    for column in grid.columns:
        justify: Literal["left", "right"] = "right" if column.startswith("#") else "left"
        table.add_column(Text(column.removeprefix("#")), justify=justify, overflow="fold")
    for row in grid.rows:
        table.add_row(*(Text(cell.text) for cell in row))
    return table


def setting_text(value: Any) -> str:
    """Return a setting's value short: four digits of a number, `true`, `none`."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return settings in one line: `cell=gru learning_rate=0.002`."""
    return " ".join(f"{name}={setting_text(value)}" for name, value in settings.items())


def number_text(value: float | None, form: str) -> str:
    """Return a number in a form, or nothing where there is none."""
    return "" if value is None else format(value, form)
