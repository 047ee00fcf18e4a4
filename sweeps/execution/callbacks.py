"""Callback that joins Ray Tune to the record, the live view, and what watches over a sweep."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sweeps.execution.ray_env  # noqa: F401 - before Ray

# isort: split
from ray import tune
from ray.tune.experiment import Trial

from sweeps.console.live_view import View
from sweeps.console.progress import Progress, TrialState
from sweeps.errors import InsufficientMemoryError
from sweeps.execution.trial_recorder import TrialRecorder
from sweeps.execution.worker_monitor import WorkerMonitor, error_text
from sweeps.search.optuna_searcher import EndedTrial
from sweeps.tracking.roles import Role
from sweeps.tracking.tracker import SweepTracker
from sweeps.trials.fail_fast import FailFastMonitor
from sweeps.trials.outcomes import Outcome
from sweeps.trials.protocol import FAILURE, evaluations
from sweeps.trials.retry import RetryTracker, is_lost_node
from sweeps.trials.watchdog import Watchdog

_LONGEST_LINE = 160


def _remember_failure(method: Callable[..., None]) -> Callable[..., None]:
    """Remember what a method of the callback raises: Ray wraps it, or takes it for the trial's."""

    @functools.wraps(method)
    def call(self: TrackingCallback, *args: Any, **options: Any) -> None:
        try:
            method(self, *args, **options)
        except Exception as error:
            self.failure = self.failure or error
            raise

    return call


class TrackingCallback(tune.Callback):
    """Passes Ray's events to the recorder, the view, and the monitors of workers and failures.

    Attributes:
        failure: what recording failed with, or why the sweep is given up; else None.
    """

    def __init__(
        self,
        tracker: SweepTracker,
        progress: Progress,
        view: View,
        *,
        notify: Callable[[str], None],
        dataset: str,
        dataset_fingerprint: str,
        attempts: RetryTracker,
        watchdog: Watchdog | None = None,
        role: Role = "trial",
        keys: Mapping[int, str] | None = None,
        tags: Mapping[str, str] | None = None,
        pretrained: Mapping[str, str] | None = None,
        ran_out: Callable[[str], bool] = lambda trial_id: False,
        has_ended_turn: Callable[[str], bool] = lambda trial_id: False,
    ) -> None:
        """Start with no trials.

        Args:
            tracker: writes the record.
            progress: what the view shows.
            view: updated at each change.
            notify: prints a line, on a trial that failed.
            dataset: the data set's name.
            dataset_fingerprint: its fingerprint.
            attempts: decides which trials are retried, and finds their checkpoints.
            watchdog: finds the workers that hang; the default, if None.
            role: what the trials are to the sweep.
            keys: of trials that are known by a name rather than by their number.
            tags: further tags of their runs.
            pretrained: names of the language models that trials start from; see `TrialRecorder`.
            ran_out: whether the time budget has ended a trial, by Ray's id of it.
            has_ended_turn: whether a trial has stopped to start again, by Ray's id of this start.
        """
        self._recorder = TrialRecorder(
            tracker,
            progress,
            attempts,
            dataset=dataset,
            dataset_fingerprint=dataset_fingerprint,
            role=role,
            keys=keys,
            tags=tags,
            pretrained=pretrained,
        )
        self._tracker = tracker
        self._view = view
        self._notify = notify
        self._attempts = attempts
        self._monitor = WorkerMonitor(watchdog or Watchdog())
        self._fail_fast = FailFastMonitor()
        self._ran_out = ran_out
        self._has_ended_turn = has_ended_turn
        self.failure: Exception | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Keep clients, threads and terminals out of Ray's snapshot, which is never restored."""
        return {}

    def finish(self, ended: Sequence[EndedTrial]) -> None:
        """Complete the record of trials that ended, but whose record was interrupted.

        Args:
            ended: as the study knows them; those whose record is whole are passed over.
        """
        for trial in ended:
            self._recorder.complete(trial)

    @_remember_failure
    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Start the trial's run."""
        self._recorder.begin(trial.config)
        self._attempts.watch(int(trial.config["trial"]), functools.partial(error_text, trial))
        self._monitor.start(trial)
        self._view.update()

    @_remember_failure
    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Record an evaluation, and those before it that have not been reported."""
        self._monitor.report(trial)
        state = self._recorder.state_of(trial.config)
        if FAILURE in result:
            state.error = result[FAILURE]
            return
        for evaluation in evaluations(result):
            self._recorder.add_evaluation(state, {**evaluation, "facts": result["facts"]})
        self._view.update()

    @_remember_failure
    def on_checkpoint(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        checkpoint: tune.Checkpoint,
        **info: Any,
    ) -> None:
        """Remember where the best model lies."""
        self._monitor.start(trial)
        state = self._recorder.state_of(trial.config)
        state.checkpoint = "/".join(Path(checkpoint.path).parts[-2:])

    @_remember_failure
    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Record a trial that ran to its end, was stopped, ran out of time, or can't be trained."""
        self._monitor.end(trial)
        if self._has_ended_turn(trial.trial_id):
            self._recorder.state_of(trial.config).waits = True
            self._fail_fast.end()
            self._view.update()
            return
        state = self._recorder.begin(trial.config)
        if state.error is not None:
            self._fail(state, state.error)
        else:
            self._recorder.end(state, self._outcome(state, trial.trial_id))
            self._fail_fast.end()
        self._view.update()

    @_remember_failure
    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Record a trial that failed, with its traceback and what it had reached."""
        self._monitor.end(trial)
        if self.failure is not None:
            return  # this callback's own, which Ray takes for the trial's
        state = self._recorder.begin(trial.config)
        error = self._monitor.error_of(trial)
        number = int(trial.config["trial"])
        if self._attempts.is_pending_retry(number):
            on = "it resumes from its last checkpoint"
            if is_lost_node(error):
                self._notify(f"trial {state.key} lost its node; {on}, on another")
            elif self._attempts.memory_error is None:
                count = self._attempts.failures(number)
                self._tracker.trial(state.key).log_failure(count, error)
                self._notify(
                    f"trial {state.key} failed: {_last_line(error)}; {on}, retry {count} of "
                    f"{self._attempts.retries}"
                )
        else:
            self._fail(state, error)
        self._view.update()

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """End workers that hang, and the sweep if recording has failed or there is no hope.

        Raises:
            InsufficientMemoryError: the memory does not suffice for so many trials at once.
            RecordError: something can't be recorded.
            SweepError: most of the first trials have failed in the same way.
        """
        if self.failure is None and self._attempts.memory_error is not None:
            self.failure = InsufficientMemoryError(_last_line(self._attempts.memory_error))
        if self.failure is not None:
            raise self.failure
        self._monitor.kill_hung()
        self._view.update()

    def _fail(self, state: TrialState, error: str) -> None:
        """Record that a trial has failed for good."""
        self._recorder.end(state, "failed", error)
        self._notify(f"trial {state.key} failed: {_last_line(error)}")
        self._fail_fast.end(_last_line(error))

    def _outcome(self, state: TrialState, trial_id: str) -> Outcome:
        if state.finished:
            return "completed"
        return "out_of_time" if self._ran_out(trial_id) else "stopped_early"


def _last_line(error: str) -> str:
    """Return what a traceback ends with, in a line: the kind of error and its message."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return textwrap.shorten(lines[-1], _LONGEST_LINE) if lines else "no reason is known"
