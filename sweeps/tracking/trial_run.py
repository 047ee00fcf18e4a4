"""Run of a trial: its evaluations, failures, model and end, each recorded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from sentiment.config import Objective
from sentiment.objective import best_key
from sentiment.tracking.batches import now_ms
from sentiment.tracking.provenance import PRECISION_TAG, RECURRENCE_TAG, process_tags, redacted
from sweeps.tracking.counters import SweepCounters
from sweeps.tracking.queries import TrialRecord
from sweeps.tracking.roles import Role
from sweeps.tracking.run_handle import RunHandle
from sweeps.tracking.takeovers import TAKEOVERS_TAG, takeovers_tag
from sweeps.tracking.writer import BatchWriter
from sweeps.trials.outcomes import ENDED, STATUS, Outcome


@dataclass
class RunState:
    """What is recorded of a trial's run.

    Attributes:
        role: what the run is to the sweep.
        run_id: its id, if an earlier process has made it.
        last_step: training examples seen at the last evaluation; -1 before the first.
        outcome: how the trial ended; None while it runs.
        best: the objective at its best checkpoint.
        recorded_once: names of metrics that are recorded once and are there.
        has_model: whether its model is logged.
    """

    role: Role
    run_id: str | None = None
    last_step: int = -1
    outcome: Outcome | None = None
    best: float | None = None
    recorded_once: frozenset[str] = frozenset()
    has_model: bool = False


def read_state(client: MlflowClient, trial: TrialRecord, objective: Objective) -> RunState:
    """Return what the store has of a trial's run, for a sweep that is resumed.

    Args:
        client: client of the store.
        trial: the trial.
        objective: what the sweep goes by.
    """
    state = RunState(
        role=trial.role,
        run_id=trial.run_id,
        outcome=trial.outcome,
        best=trial.metrics.get(best_key(objective)),
    )
    if trial.outcome not in ENDED:
        # An interrupted trial is resumed: what is recorded already is not recorded again.
        epochs = client.get_metric_history(trial.run_id, "epoch")
        state.last_step = max((metric.step for metric in epochs), default=-1)
        state.recorded_once = frozenset(trial.metrics)
        state.has_model = trial.model_id is not None
    return state


class TrialRun(RunHandle):
    """The run of a trial, a finalist, a refit, a confirmation or a baseline.

    Attributes:
        key: the trial's number, or the name of another run.
        state: what is recorded of it.
    """

    key: int | str

    def __init__(
        self, writer: BatchWriter, key: int | str, state: RunState, counters: SweepCounters
    ) -> None:
        """Write nothing yet.

        Args:
            writer: writes the sweep's record.
            key: the trial's number, or the name of another run.
            state: what is recorded of it.
            counters: count the sweep's trials as they end; runs of other roles are not counted.
        """
        super().__init__(writer, key)
        self.state = state
        self._counters = counters if state.role == "trial" else None
        self._objective = counters.objective

    @property
    def has_ended(self) -> bool:
        """Whether the trial needs no further work."""
        return self.state.outcome in ENDED

    def start(self, name: str, parameters: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Start the run.

        Args:
            name: what the trial is, in words; the run's name puts the number before it.
            parameters: from `sentiment.tracking.runs.run_parameters`.
            tags: those of the sweep, and further ones.
        """
        all_tags = {**tags, **process_tags(), "sweep.role": self.state.role}
        if isinstance(self.key, int):
            all_tags["sweep.trial"] = str(self.key)
            name = f"{self.key:03d} {name}"
        else:
            all_tags[f"sweep.{self.state.role}"] = self.key
        self._write("start", {"name": name, "tags": all_tags, "at": now_ms()})
        self._write("log", {"params": dict(parameters)})

    def reopen(self, parameters: Mapping[str, str]) -> None:
        """Resume the run of a trial that failed or was interrupted.

        Args:
            parameters: as at its start; a kill may have kept them out of the store.
        """
        self.state.outcome = None
        if self._counters is not None:
            self._counters.trial_reopened(self.key)
        self._write("reopen", {"tags": process_tags()})
        # The same parameters count once.
        self._write("log", {"params": dict(parameters)})

    def log_evaluation(
        self, step: int, metrics: Mapping[str, float], at: int | None = None
    ) -> None:
        """Record the metrics of an evaluation.

        A step that the trial has recorded before, as after a retry, is passed over.

        Args:
            step: training examples seen.
            metrics: by name.
            at: milliseconds since the epoch at which they were measured; now, if None.
        """
        if step > self.state.last_step:
            self.state.last_step = step
            self.log_metrics(metrics, step, at)

    def log_failure(self, count: int, error: str) -> None:
        """Keep the traceback of a failure after which the trial is tried again.

        Args:
            count: its failures so far.
            error: the traceback, kept as the artifact `failure-1.txt`.
        """
        self.log_text(redacted(error), f"failure-{count}.txt")
        self._write("log", {"tags": {"sweep.retries": str(count)}})

    def log_takeovers(self, takeovers: Sequence[Mapping[str, Any]]) -> None:
        """Keep what a trial of a population has taken over from others so far.

        Args:
            takeovers: the fields of `Takeover` of each, by name.
        """
        self._write("log", {"tags": {TAKEOVERS_TAG: takeovers_tag(takeovers)}})

    def log_model(
        self, bundle: Path, metrics: Mapping[str, float], step: int, at: int | None = None
    ) -> None:
        """Keep the trial's best checkpoint as its logged model, unless it has that already.

        Args:
            bundle: the saved bundle's folder; it may go once this returns.
            metrics: what the checkpoint reached, `best/…`; recorded with the run and the model.
            step: training examples that it has seen.
            at: milliseconds since the epoch at which they were measured; now, if None.
        """
        self.state.recorded_once |= frozenset(metrics)
        if self.state.has_model:
            return
        self.state.has_model = True
        self._write(
            "model",
            {
                "folder": self._writer.keep_model(bundle, self.key),
                "name": f"trial-{self.key:03d}" if isinstance(self.key, int) else self.key,
                "metrics": {name: float(value) for name, value in metrics.items()},
                "step": step,
                "at": now_ms() if at is None else at,
            },
        )

    def log_model_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record metrics of a trial that has ended, and of its model: its test scores, once."""
        self.log_metrics(metrics, step, of_model=True)

    def end(
        self,
        outcome: Outcome,
        *,
        metrics: Mapping[str, float] | None = None,
        step: int = 0,
        error: str | None = None,
        at: int | None = None,
        precision: str | None = None,
        recurrence: str | None = None,
    ) -> None:
        """End the run, and count the trial among the sweep's.

        Args:
            outcome: how the trial ended.
            metrics: recorded once, of the best checkpoint and of the whole trial: `best/…`,
                `parameters/…`, `seconds/total`.
            step: training examples that the best checkpoint has seen.
            error: the traceback of one that failed.
            at: milliseconds since the epoch at which it ended; now, if None.
            precision: what its recurrent layers were computed in, if it has any.
            recurrence: how its machine runs recurrent layers on the CPU, if that is known.
        """
        state, at = self.state, now_ms() if at is None else at
        state.outcome = outcome
        metrics = metrics or {}
        state.best = metrics.get(best_key(self._objective), state.best)
        rest = {n: value for n, value in metrics.items() if n not in state.recorded_once}
        self.log_metrics(rest, step, at)
        ending = {
            "status": STATUS[outcome],
            "tags": {
                "sweep.outcome": outcome,
                **({} if precision is None else {PRECISION_TAG: precision}),
                **({} if recurrence is None else {RECURRENCE_TAG: recurrence}),
            },
            "error": None if error is None else redacted(error),
            "at": at,
        }
        self._write("end", ending)
        if self._counters is not None:
            self._counters.trial_ended(self.key, outcome, state.best, at)
