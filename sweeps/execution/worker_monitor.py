"""Monitor of Ray's workers: ends those that hang, and words what a trial failed with."""

from __future__ import annotations

import re
from pathlib import Path

import ray
from ray.tune.experiment import Trial

from sentiment.wording import duration
from sweeps.trials.watchdog import Watchdog

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class WorkerMonitor:
    """Kills workers that the watchdog finds hung."""

    def __init__(self, watchdog: Watchdog) -> None:
        """Start without workers."""
        self._watchdog = watchdog
        self._errors: dict[str, str] = {}

    def start(self, trial: Trial) -> None:
        """Begin to wait for a report of a trial's worker."""
        self._watchdog.start(trial)

    def report(self, trial: Trial) -> None:
        """Take note of a report."""
        self._watchdog.report(trial)

    def end(self, trial: Trial) -> None:
        """Wait for a trial's worker no more."""
        self._watchdog.end(trial)

    def kill_hung(self) -> None:
        """Kill the workers that hang; Ray reports their trials as failed."""
        for trial in self._watchdog.hung():
            assert isinstance(trial, Trial)
            self._watchdog.end(trial)
            self._errors[trial.trial_id] = (
                f"the worker reported nothing for {duration(self._watchdog.limit)} and was ended"
            )
            actor = trial.temporary_state.ray_actor
            assert actor is not None, "a trial that was started has a worker"
            ray.kill(actor)

    def error_of(self, trial: Trial) -> str:
        """Return what a trial has failed with: that its worker hung, or `error_text`."""
        return self._errors.pop(trial.trial_id, error_text(trial))


def error_text(trial: Trial) -> str:
    """Return the traceback of a failed trial, without colours."""
    text = Path(trial.error_file).read_text() if trial.error_file else "the worker died"
    return _COLOURS.sub("", text)
