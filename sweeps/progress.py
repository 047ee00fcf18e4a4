"""How a sweep stands, for those who watch it: trials by outcome, the best, the time left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from sentiment.config import Objective
from sweeps.history import TrialRecord
from sweeps.tracking import Outcome


@dataclass
class TrialState:
    """What the driver knows of one trial.

    Attributes:
        key: the trial's number, or the baseline's name.
        name: what it is, in words.
        settings: its hyperparameters.
        outcome: how it ended; None while it runs.
        epoch: passes over train so far.
        value: the last value of the objective.
        best: metrics of the best checkpoint so far, with `examples`.
        seconds: training and evaluation so far, in the worker.
        facts: recorded once: parameter counts and the seconds of the start.
        precision: in what its recurrent layers are computed; None before the first evaluation.
        checkpoint: place of the newest checkpoint within the storage.
        finished: whether the full budget has been trained.
        evaluated: milliseconds since the epoch of the last evaluation.
        error: the traceback of a failure that ends the trial.
    """

    key: int | str
    name: str
    settings: dict[str, Any]
    outcome: Outcome | None = None
    epoch: float = 0.0
    value: float | None = None
    best: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    precision: str | None = None
    checkpoint: str | None = None
    finished: bool = False
    evaluated: int | None = None
    error: str | None = None


class Progress:
    """The trials of a search or of the baselines, and what follows from them."""

    def __init__(
        self,
        total: int,
        workers: int,
        objective: Objective,
        deadline: float | None = None,
        searched: Collection[str] = (),
    ) -> None:
        """Start the clock.

        Args:
            total: trials in all.
            workers: trials at once.
            objective: what the best goes by.
            deadline: `time.monotonic()` at which no more trials start, if there is a budget.
            searched: hyperparameters that tell the trials apart.
        """
        self.total = total
        self.workers = workers
        self.objective = objective
        self.deadline = deadline
        self.searched = searched
        self.trials: dict[int | str, TrialState] = {}
        self.started = time.monotonic()

    @property
    def counts(self) -> Counter[str]:
        """Trials by outcome, and how many are `running`."""
        return Counter(trial.outcome or "running" for trial in self.trials.values())

    @property
    def ended(self) -> int:
        """Trials that are over."""
        return sum(trial.outcome is not None for trial in self.trials.values())

    def best(self) -> TrialState | None:
        """Return the trial with the best checkpoint so far, running ones included."""
        able = [trial for trial in self.trials.values() if trial.best and trial.outcome != "failed"]
        sign = -1 if self.objective == "valid/loss" else 1
        return max(able, key=lambda trial: sign * trial.best[self.objective], default=None)

    def seconds_left(self) -> float | None:
        """Estimate the seconds until the end; None before a trial has ended.

        What is left costs as much a trial as those that ended did on average, less what the
        running ones have had already.
        """
        over = [trial.seconds for trial in self.trials.values() if trial.outcome is not None]
        if not over:
            return None
        mean = sum(over) / len(over)
        running = [trial.seconds for trial in self.trials.values() if trial.outcome is None]
        unstarted = self.total - len(over) - len(running)
        work = mean * max(unstarted, 0) + sum(max(mean - had, mean / 4) for had in running)
        left = work / self.workers
        if self.deadline is not None:
            left = min(left, max(0.0, self.deadline - time.monotonic()))
        return left


def ended_state(trial: TrialRecord) -> TrialState:
    """Return the state of a trial that ended before the sweep was interrupted."""
    name = trial.name.partition(" ")[2] if isinstance(trial.key, int) else trial.name
    best = {n.removeprefix("best/"): v for n, v in trial.metrics.items() if n.startswith("best/")}
    return TrialState(
        trial.key,
        name,
        trial.parameters,
        outcome=trial.outcome,
        best=best,
        seconds=trial.metrics.get("seconds/total", 0.0),
    )
