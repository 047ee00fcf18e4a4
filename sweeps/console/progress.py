"""Progress of a sweep, for its display: trials by outcome, the best, the time left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from sentiment.objective import merit
from sweeps.tracking.queries import TrialRecord
from sweeps.trials.outcomes import Outcome

# Trials by which the cost of the next ones is estimated. On the records of five sweeps of 50
# trials a dozen was best, but 8 and 20 were nearly as good.
_LATEST = 12


@dataclass
class TrialState:
    """What the driver knows of one trial.

    Attributes:
        key: the trial's number, or the baseline's name.
        name: what it is, in words.
        settings: its hyperparameters.
        epochs: passes over train if nothing stops it; 0 where that is not known.
        outcome: how it ended; None while it runs.
        epoch: passes over train so far.
        value: the last value of the objective.
        best: metrics of the best checkpoint so far, with `examples`.
        seconds: training and evaluation so far, in the worker.
        static_metrics: recorded once: parameter counts and the seconds of the start.
        precision: in what its recurrent layers are computed; None before the first evaluation.
        recurrence: how its machine runs recurrent layers on the CPU; None like the precision.
        checkpoint: place of the newest checkpoint within the storage.
        finished: whether the full budget has been trained.
        evaluated: milliseconds since the epoch of the last evaluation.
        error: the traceback of a failure that ends the trial.
        waits: whether it has ended its turn, and waits for the next one of its population.
        takeovers: how often it has continued from another's weights.
    """

    key: int | str
    name: str
    settings: dict[str, Any]
    epochs: float = 0.0
    outcome: Outcome | None = None
    epoch: float = 0.0
    value: float | None = None
    best: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    static_metrics: dict[str, Any] = field(default_factory=dict)
    precision: str | None = None
    recurrence: str | None = None
    checkpoint: str | None = None
    finished: bool = False
    evaluated: int | None = None
    error: str | None = None
    waits: bool = False
    takeovers: int = 0

    @property
    def runs(self) -> bool:
        """Whether it is being trained."""
        return self.outcome is None and not self.waits


class Progress:
    """The trials of a search or of the baselines, and what follows from them."""

    def __init__(
        self,
        total: int,
        workers: int,
        objective: str,
        deadline: float | None = None,
        searched: Collection[str] = (),
    ) -> None:
        """Start the clock.

        Args:
            total: trials in all.
            workers: trials at once.
            objective: what the best goes by.
            deadline: `time.monotonic()` at which no more trials start, if there is a budget.
            searched: hyperparameters in which the trials differ.
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
        """Trials by outcome, and how many are `running` or `waiting`."""
        return Counter(
            trial.outcome or ("running" if trial.runs else "waiting")
            for trial in self.trials.values()
        )

    @property
    def ended(self) -> int:
        """Trials that are over."""
        return sum(trial.outcome is not None for trial in self.trials.values())

    @property
    def is_over_time(self) -> bool:
        """Whether the time budget is used up, so that no trial starts any more."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def best(self) -> TrialState | None:
        """Return the trial with the best checkpoint so far, running ones included."""
        able = [trial for trial in self.trials.values() if trial.best and trial.outcome != "failed"]
        name = self.objective
        return max(able, key=lambda trial: merit(name, trial.best[name]), default=None)

    def seconds_left(self) -> float | None:
        """Estimate the seconds until the end; None before a trial has ended, or all have begun.

        A running trial is taken to train its full budget at its pace so far. One that has not
        begun costs as much as the latest that ended, and the running ones that have had more
        already, did on average: a search goes from cheap trials to dear ones.
        """
        trials = list(self.trials.values())
        latest = [trial.seconds for trial in trials if trial.outcome is not None][-_LATEST:]
        running = [trial for trial in trials if trial.outcome is None]
        if not latest:
            # All trials of a population end at last.
            if len(trials) < self.total or not all(trial.epoch > 0 for trial in running):
                return None
            latest = [trial.seconds * trial.epochs / trial.epoch for trial in running]
        mean = sum(latest) / len(latest)
        costs = [*latest, *(trial.seconds for trial in running if trial.seconds > mean)]
        mean = sum(costs) / len(costs)
        unstarted = max(self.total - len(trials), 0)
        work = mean * unstarted + sum(_remaining(trial, mean) for trial in running)
        left = work / self.workers
        if self.deadline is not None:
            left = min(left, max(0.0, self.deadline - time.monotonic()))
        return left


def _remaining(trial: TrialState, mean: float) -> float:
    """Return the seconds until a running trial has had its budget, at its pace so far."""
    if not 0 < trial.epoch <= trial.epochs:
        return max(mean - trial.seconds, 0.0)
    return trial.seconds * (trial.epochs / trial.epoch - 1)


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
