"""Tracker of a sweep: its record in MLflow, one run for the sweep and one for each trial.

The driver calls a `SweepTracker`; once the sweep's run is started, everything goes to an outbox on
disk, and from there to the store by one thread, with the times at which it happened.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar, cast

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Run

from sentiment.config import Objective
from sweeps.signals import deferred_interrupts
from sweeps.tracking.counters import SweepCounters, read_counts
from sweeps.tracking.mlflow_sink import MlflowSink
from sweeps.tracking.names import check_name_is_new, check_sweep_name
from sweeps.tracking.orphans import close_open_runs
from sweeps.tracking.outbox import Outbox, UndeliveredError
from sweeps.tracking.queries import trials_of
from sweeps.tracking.roles import Role
from sweeps.tracking.sweep_run import (
    SweepRun,
    SweepState,
    check_not_running,
    created_sweep_run,
    reopen_sweep_run,
)
from sweeps.tracking.trial_run import RunState, TrialRun, read_state
from sweeps.tracking.writer import BatchWriter

T = TypeVar("T")


class SweepTracker:
    """Records one sweep.

    Trials are known by their number from 0, confirmations and baselines by a name. A trial keeps
    its one run through failures, retries and resumes, and each of its steps is recorded once.

    A store that does not answer delays nothing: what it has not got is kept in the outbox, and is
    sent when it answers. Any other failure to write raises `sweeps.tracking.outbox.RecordError` at
    the next call, of a run's handle too; `end` is to be called all the same, and closes what it
    can. The methods are called from one thread.

    Attributes:
        sweep: handle of the sweep's run.
    """

    def __init__(
        self,
        client: MlflowClient,
        experiment_id: str,
        run_id: str,
        name: str,
        objective: Objective,
        *,
        folder: Path | None = None,
        trials: Mapping[int | str, RunState] | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        """Open the record of a sweep whose run is there; see `start` and `resume`.

        Args:
            client: client of the store.
            experiment_id: the experiment's id.
            run_id: the sweep's run.
            name: the sweep's name.
            objective: what the sweep goes by.
            folder: the sweep's own, where the outbox lies; a temporary one, if None, for a record
                that nobody resumes.
            trials: what is recorded of the trials' runs that are there.
            notify: called with a line when the store stops answering, and when it answers again.
        """
        self.client = client
        self.experiment_id = experiment_id
        self.run_id = run_id
        self.name = name
        self._scratch = None if folder is not None else Path(tempfile.mkdtemp(prefix="record-"))
        outbox = Outbox(folder or self._scratch or Path())
        states = trials or {}
        runs = {key: state.run_id for key, state in states.items() if state.run_id is not None}
        sink = MlflowSink(client, run_id, outbox, runs)
        self._runs = sink.lookup
        self._writer = BatchWriter(sink, outbox, notify=notify)
        self.sweep = SweepRun(self._writer)
        self._counters = SweepCounters(self.sweep, objective)
        self._trials: dict[int | str, TrialRun] = {}
        for key, state in states.items():
            self._trials[key] = TrialRun(self._writer, key, state, self._counters)
            if state.role == "trial":
                self._counters.restore(key, state.outcome, state.best)

    @classmethod
    def start(
        cls,
        client: MlflowClient,
        experiment_id: str,
        name: str,
        *,
        objective: Objective,
        parameters: Mapping[str, str],
        precision: str,
        space_yaml: str,
        inputs: Sequence[DatasetInput] = (),
        tags: Mapping[str, str] | None = None,
        folder: Path | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> Self:
        """Start the run of a new sweep.

        Args:
            client: client of the store.
            experiment_id: the experiment's id.
            name: the sweep's name; see `sweeps.tracking.names`.
            objective: what the sweep goes by.
            parameters: of the sweep itself, `dataset` and `dataset_fingerprint` among them.
            precision: the precision taken.
            space_yaml: the space, kept as the artifact `space.yaml`.
            inputs: the data, an input of the sweep's run and of every trial's.
            tags: further tags.
            folder: the sweep's own; see `__init__`.
            notify: called when the store stops answering; see `__init__`.

        Raises:
            InputError: the name can't be one, or a sweep of the experiment has it.
        """
        check_sweep_name(name)
        check_name_is_new(client, experiment_id, name)
        with created_sweep_run(
            client,
            experiment_id,
            name,
            parameters={**parameters, "objective": objective},
            precision=precision,
            space_yaml=space_yaml,
            inputs=inputs,
            tags=tags or {},
        ) as run_id:
            return cls(client, experiment_id, run_id, name, objective, folder=folder, notify=notify)

    @classmethod
    def resume(
        cls,
        client: MlflowClient,
        run: Run,
        *,
        parameters: Mapping[str, str] | None = None,
        folder: Path | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> Self:
        """Resume a sweep in its own run and its trials' own runs.

        Args:
            client: client of the store.
            run: the sweep's run, from `sweeps.tracking.queries.find_sweep`.
            parameters: of the sweep, with its `objective`; recorded where a kill has kept them out.
            folder: the sweep's own; see `__init__`.
            notify: called when the store stops answering; see `__init__`.

        Raises:
            InputError: another process is at it.
        """
        check_not_running(run)
        missing = {n: v for n, v in (parameters or {}).items() if n not in run.data.params}
        objective = cast(Objective, {**missing, **run.data.params}["objective"])
        trials = {
            trial.key: read_state(client, trial, objective) for trial in trials_of(client, run)
        }
        # Made first: it locks the outbox, which one process has at a time.
        tracker = cls(
            client,
            run.info.experiment_id,
            run.info.run_id,
            run.data.tags["sweep.name"],
            objective,
            folder=folder,
            trials=trials,
            notify=notify,
        )
        reopen_sweep_run(client, run, missing)
        return tracker

    def start_trial(
        self,
        key: int | str,
        parameters: Mapping[str, str],
        name: str,
        *,
        role: Role = "trial",
        tags: Mapping[str, str] | None = None,
    ) -> TrialRun:
        """Start the run of a trial, or reopen the one that it has; return its handle.

        Args:
            key: the trial's number from 0, or the name of a confirmation or a baseline.
            parameters: from `sentiment.tracking.runs.run_parameters`.
            name: what the trial is, in words; the run's name puts the number before it.
            role: what the run is to the sweep.
            tags: further tags of a run that is made.

        Raises:
            RecordError: earlier writing failed.
        """
        if key in self._trials:
            self._trials[key].reopen(parameters)
            return self._trials[key]
        run = self._trials[key] = TrialRun(self._writer, key, RunState(role), self._counters)
        of_sweep = {"mlflow.parentRunId": self.run_id, "sweep.name": self.name}
        run.start(name, parameters, {**(tags or {}), **of_sweep})
        return run

    def trial(self, key: int | str) -> TrialRun:
        """Return the handle of the run of a trial that was started, by whichever process.

        Raises:
            KeyError: it was not.
        """
        return self._trials[key]

    def has_ended(self, key: int | str) -> bool:
        """Whether a trial has a run, and its end is recorded."""
        return key in self._trials and self._trials[key].has_ended

    def run_of(self, key: int | str) -> str:
        """Return the id of a trial's run, once it is made.

        Raises:
            LookupError: there is no such trial.
            RecordError: the store does not answer, or earlier writing failed.
        """
        return self.ask(lambda: self._runs.run_of(key))

    def known_run(self, key: int | str) -> str | None:
        """Return the id of a trial's run; None while the store has not made it."""
        return self._runs.known_run(key)

    def model_of(self, key: int | str) -> str | None:
        """Return the id of a trial's logged model, once it is written; None if it has none.

        Raises:
            RecordError: the store does not answer, or earlier writing failed.
        """
        return self.ask(lambda: self._runs.model_of(key))

    def ask(self, function: Callable[[], T]) -> T:
        """Call a function that needs the store, once all before is written.

        Args:
            function: called again after a transient error, so it must be such that twice counts
                once.

        Raises:
            RecordError: the store does not answer, or earlier writing failed.
        """
        return self._writer.call(function)

    def complete_counts(self) -> None:
        """Record how the sweep stood after each trial, where a kill has kept that out."""
        recorded, trials = self.ask(lambda: read_counts(self.client, self.run_id))
        self._counters.complete(recorded, trials)

    def flush(self) -> None:
        """Wait until all is written."""
        self._writer.flush()

    def end(self, state: SweepState) -> None:
        """End the sweep's run and the writing; trials still open are interrupted.

        A first Control-C or SIGTERM has no effect meanwhile. A later call does nothing.

        Raises:
            UndeliveredError: the store does not answer; the outbox has the rest of the record.
            RecordError: something could not be written. The runs that this left open are closed
                as interrupted all the same, as far as the store lets them be.
        """
        if self._writer.closed:
            return
        with deferred_interrupts():
            try:
                try:
                    for run in self._trials.values():
                        if run.state.outcome is None:
                            run.end("interrupted")
                    self.sweep.end(state)
                finally:
                    self._writer.close(interrupted=state == "interrupted")
            except UndeliveredError:
                raise
            except BaseException:
                close_open_runs(self.client, self.experiment_id, self.run_id)
                raise
            finally:
                if self._scratch is not None:
                    shutil.rmtree(self._scratch, ignore_errors=True)
