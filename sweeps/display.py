"""The live view of a sweep: a panel on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import timedelta
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeps.progress import Progress, TrialState

LINE_SECONDS = 60.0
MOST_RUNNING = 8
"""Running trials shown; a machine with many GPUs has more than fit a screen."""


class View(Protocol):
    """Shows how a sweep stands until it is closed."""

    def update(self) -> None:
        """Take note that something may have changed."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Silent:
    """Shows nothing."""

    def update(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Lines:
    """Prints a line when a minute has passed; for logs."""

    def __init__(self, progress: Progress, console: Console, every: float = LINE_SECONDS) -> None:
        self._progress = progress
        self._console = console
        self._every = every
        self._last = time.monotonic()

    def update(self) -> None:
        """Print a line if it is time."""
        if time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            self._console.print(line(self._progress), highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Print how it ended."""
        self._console.print(line(self._progress), highlight=False, soft_wrap=True)


class Panel:
    """Redraws a panel in place; for terminals."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress = progress
        self._live = Live(
            console=console, get_renderable=self._draw, refresh_per_second=2, transient=False
        )
        self._live.start()

    def update(self) -> None:
        """Do nothing: the panel redraws itself twice a second."""

    def close(self) -> None:
        """Stop redrawing; the last state stays on the screen."""
        self._live.stop()

    def _draw(self) -> RenderableType:
        return panel(self._progress)


def make_view(progress: Progress, console: Console, quiet: bool) -> View:
    """Choose the view that fits where the output goes."""
    if quiet:
        return Silent()
    return Panel(progress, console) if console.is_terminal else Lines(progress, console)


def line(progress: Progress) -> str:
    """Say in one line how a sweep stands."""
    counts = progress.counts
    parts = [
        f"{_clock(time.monotonic() - progress.started)}",
        f"{progress.ended}/{progress.total} trials ended",
        f"{counts['running']} running",
        f"{counts['completed']} completed",
        f"{counts['stopped_early']} stopped early",
        f"{counts['failed']} failed",
    ]
    best = progress.best()
    if best is not None:
        value = best.best[progress.objective]
        parts.append(f"best {progress.objective} {value:.4f} ({_title(best)})")
    left = progress.seconds_left()
    if left is not None and progress.ended < progress.total:
        parts.append(f"about {_clock(left)} left")
    return " | ".join(parts)


def panel(progress: Progress) -> RenderableType:
    """Draw how a sweep stands."""
    counts = progress.counts
    left = progress.seconds_left()
    head = Text.assemble(
        (f"{progress.ended}/{progress.total} trials ended", "bold"),
        f"   {counts['running']} running   {counts['completed']} completed   "
        f"{counts['stopped_early']} stopped early   ",
        (f"{counts['failed']} failed", "red" if counts["failed"] else ""),
    )
    clock = f"{_clock(time.monotonic() - progress.started)} so far"
    if left is not None:
        clock += f", about {_clock(left)} left"
    parts: list[RenderableType] = [
        head,
        ProgressBar(total=max(progress.total, 1), completed=progress.ended, width=60),
        Text(clock, style="dim"),
    ]
    best = progress.best()
    if best is not None:
        parts.append(
            Text.assemble(
                ("best ", "bold green"),
                f"{progress.objective} {best.best[progress.objective]:.4f}  {_title(best)}",
            )
        )
        parts.append(Text(_settings(best, progress.searched), style="dim"))
    running = [trial for trial in progress.trials.values() if trial.outcome is None]
    if running:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("trial", "model", "epoch", progress.objective, "seconds"):
            table.add_column(column, no_wrap=True)
        for trial in running[:MOST_RUNNING]:
            value = "" if trial.value is None else f"{trial.value:.4f}"
            key = f"{trial.key:03d}" if isinstance(trial.key, int) else ""
            table.add_row(key, trial.name, f"{trial.epoch:.2f}", value, f"{trial.seconds:.0f}")
        parts.append(table)
        if len(running) > MOST_RUNNING:
            parts.append(Text(f"and {len(running) - MOST_RUNNING} more", style="dim"))
    return Group(*parts)


def _title(trial: TrialState) -> str:
    return f"{trial.key:03d} {trial.name}" if isinstance(trial.key, int) else trial.name


def _settings(trial: TrialState, searched: Collection[str]) -> str:
    shown = (
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.settings.items()
        if name in searched
    )
    return ", ".join(shown)


def _clock(seconds: float) -> str:
    """Write seconds as H:MM:SS."""
    return str(timedelta(seconds=round(seconds)))
