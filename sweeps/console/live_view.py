"""The live view of a sweep: a panel on a terminal or in a notebook, a line a minute elsewhere."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, Protocol

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeps.console.progress import Progress, TrialState
from sweeps.terminal import Column, fitted_table, flowed, shows_in_cell
from sweeps.trials.outcomes import count_parts

LINE_SECONDS = 60.0
CELL_SECONDS = 1.0
"""Between two drawings of the panel in a notebook; each is sent to the browser."""
MOST_RUNNING = 8
"""Running trials shown; a machine with many GPUs has more than fit a screen."""
LEAST_BAR, MOST_BAR = 10, 60
"""Characters of the progress bar; the time left comes before it."""

_CELL_HTML = '<pre style="line-height:normal">{code}</pre>'
# The console leaves lines whole unless each says otherwise.
_WRAPPED: dict[str, Any] = {"no_wrap": False, "overflow": "fold"}


class View(Protocol):
    """Shows the progress of a sweep until it is closed."""

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
        return self

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # A row is left for the cursor: a view as high as the terminal scrolls with each update.
        yield panel(self._progress, options.max_width, console.height - 1)


class Cell:
    """Redraws a panel in place below the cell of a notebook."""

    def __init__(self, progress: Progress, width: int, every: float = CELL_SECONDS) -> None:
        # Where a notebook runs, IPython is installed; nothing else needs it.
        from IPython.display import display

        self._progress = progress
        self._width = width
        self._every = every
        self._last = time.monotonic()
        self._output = display(self._drawn(), raw=True, display_id=True)

    def update(self) -> None:
        """Draw the panel again if it is time."""
        if time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            self._output.update(self._drawn(), raw=True)

    def close(self) -> None:
        """Draw the last state, which stays."""
        self._output.update(self._drawn(), raw=True)

    def _drawn(self) -> dict[str, str]:
        """Return the panel by MIME type; a notebook shows the richest that it can."""
        console = Console(
            file=io.StringIO(),
            record=True,
            width=self._width,
            soft_wrap=True,
            color_system="truecolor",
            force_jupyter=False,
        )
        console.print(panel(self._progress, self._width))
        html = console.export_html(inline_styles=True, code_format=_CELL_HTML, clear=False)
        return {"text/html": html, "text/plain": console.export_text()}


def make_view(progress: Progress, console: Console, quiet: bool) -> View:
    """Choose the view that fits where the output goes."""
    if quiet:
        return Silent()
    if shows_in_cell(console):
        return Cell(progress, console.width)
    return Panel(progress, console) if console.is_terminal else Lines(progress, console)


def line(progress: Progress) -> str:
    """Return the progress of a sweep in one line."""
    counts = progress.counts
    parts = [
        _clock(time.monotonic() - progress.started),
        f"{progress.ended}/{progress.total} trials ended",
        *_at_work(counts),
        *count_parts(counts),
    ]
    best = progress.best()
    if best is not None:
        value = best.best[progress.objective]
        parts.append(f"best {progress.objective} {value:.4f} ({_title(best)})")
    left = _time_left(progress)
    if left:
        parts.append(left)
    return " | ".join(parts)


def _at_work(counts: Counter[str]) -> list[str]:
    waiting = counts["waiting"]
    return [f"{counts['running']} running", *([f"{waiting} waiting"] if waiting else [])]


def panel(progress: Progress, width: int = 80, height: int = 24) -> RenderableType:
    """Render the progress of a sweep.

    Args:
        progress: of the sweep.
        width: characters of a line.
        height: lines at most; what runs is listed as far as there is room.
    """
    counts = progress.counts
    done = [f"{progress.ended}/{progress.total} trials ended", *_at_work(counts)]
    lines = [Text(line, **_WRAPPED) for line in flowed([*done, *count_parts(counts)], width, "  ")]
    lines[0].stylize("bold", 0, len(done[0]))
    for text in lines:
        if counts["failed"]:
            text.highlight_regex(r"\d+ failed", "red")
    clock = f"{_clock(time.monotonic() - progress.started)} so far"
    left = _time_left(progress)
    parts: list[RenderableType] = [
        *lines,
        *_bar(progress, f"{clock}, {left}" if left else clock, width),
    ]
    best = progress.best()
    if best is not None:
        value = f"{progress.objective} {best.best[progress.objective]:.4f}"
        parts.append(Text.assemble(("best ", "bold green"), f"{value}  {_title(best)}", **_WRAPPED))
        settings = flowed(_settings(best, progress.searched), width, ", ")
        parts += [Text(line, style="dim", **_WRAPPED) for line in settings]
    running = [trial for trial in progress.trials.values() if trial.runs]
    if running:
        # Besides them: the headings, in two lines at most, and one on those that are not shown.
        room = max(min(MOST_RUNNING, height - len(parts) - 3), 1)
        parts.append(_running(running[:room], progress.objective, width))
        if len(running) > room:
            parts.append(Text(f"and {len(running) - room} more", style="dim"))
    return Group(*parts)


def _bar(progress: Progress, clock: str, width: int) -> list[RenderableType]:
    """Return the bar with the time beside it; the time alone where there is no room for both."""
    bar = ProgressBar(total=max(progress.total, 1), completed=progress.ended)
    time_text = Text(clock, style="dim", **_WRAPPED)
    beside = width - len(clock) - 2
    if beside < LEAST_BAR:
        return [time_text]
    bar.width = min(beside, MOST_BAR)
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(width=bar.width)
    row.add_column(width=len(clock))
    row.add_row(bar, time_text)
    return [row]


def _running(trials: Sequence[TrialState], objective: str, width: int) -> Table:
    def number(trial: TrialState) -> str:
        return f"{trial.key:03d}" if isinstance(trial.key, int) else ""

    values = ["" if trial.value is None else f"{trial.value:.4f}" for trial in trials]
    table = fitted_table(
        [
            Column("trial", list(map(number, trials))),
            Column("model", [trial.name for trial in trials]),
            Column("epoch", [f"{trial.epoch:.2f}" for trial in trials], right=True),
            Column(objective, values, right=True),
            Column("seconds", [f"{trial.seconds:.0f}" for trial in trials], right=True, spare=1),
        ],
        width,
    ).table
    table.header_style = "dim"
    return table


def _time_left(progress: Progress) -> str:
    """Return how long the rest takes, in words; empty where that is not known, or at the end."""
    if progress.ended >= progress.total:
        return ""
    if progress.is_over_time:
        running = progress.counts["running"]
        return "time is up: what runs ends at its next evaluation" if running else "time is up"
    left = progress.seconds_left()
    return "" if left is None else f"about {_clock(left)} left"


def _title(trial: TrialState) -> str:
    return f"{trial.key:03d} {trial.name}" if isinstance(trial.key, int) else trial.name


def _settings(trial: TrialState, searched: Collection[str]) -> list[str]:
    return [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.settings.items()
        if name in searched
    ]


def _clock(seconds: float) -> str:
    """Write seconds as H:MM:SS."""
    return str(timedelta(seconds=round(seconds)))
