"""What a sweep writes to MLflow: its own run, and one run a trial.

The driver calls a `SweepTracker`; once the sweep's run is started, everything is written by one
thread, with the times at which it happened.
"""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal, Self, cast

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Run

from sentiment.config import Objective
from sentiment.errors import InputError
from sentiment.provenance import is_alive, process_tags, provenance_tags, redacted
from sentiment.record import (
    RunStatus,
    as_metrics,
    close_run,
    ended_on_failure,
    log_batch,
    log_bundle,
    now_ms,
    open_run,
)
from sweeps.history import search_runs, sweep_run, trials_of
from sweeps.writer import BatchWriter

Outcome = Literal["completed", "stopped_early", "failed", "interrupted"]
SweepState = Literal["finished", "interrupted"]
Role = Literal["trial", "confirmation", "baseline"]

STATUS: dict[Outcome, RunStatus] = {
    "completed": "FINISHED",
    "stopped_early": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
"""MLflow's status of a run by the outcome of its trial."""

DESCRIPTION_TAG = "mlflow.note.content"
"""Where MLflow keeps the description of a run."""

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass
class _Trial:
    """What the tracker knows of a trial's run."""

    created: Future[str]
    role: Role
    last_step: int = -1
    outcome: Outcome | None = None
    best: float | None = None
    model: Future[str] | None = None
    recorded_with_model: frozenset[str] = frozenset()

    @property
    def run_id(self) -> str:
        """The run's id, once it is made."""
        return self.created.result()


def check_sweep_name(name: str) -> None:
    """Check a name that becomes part of folders and commands.

    Raises:
        InputError: it holds something other than letters, digits and `._-`, or is too long.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"--name {name!r}: use up to 80 letters, digits, dots, dashes and underscores, "
            "the first of them a letter or a digit"
        )


def new_sweep_name(
    client: MlflowClient, experiment_id: str, dataset: str, now: datetime | None = None
) -> str:
    """Return a name that no sweep of the experiment has: the data set, the date and the time."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", dataset).strip("-._")[:40] or "sweep"
    stem = f"{stem}-{now or datetime.now():%Y%m%d-%H%M%S}"
    name, count = stem, 1
    while sweep_run(client, [experiment_id], name) is not None:
        count += 1
        name = f"{stem}-{count}"
    return name


class SweepTracker:
    """Records one sweep.

    Trials are known by their number from 0, confirmations and baselines by a name. A trial keeps
    its one run through failures, retries and resumes, and each of its steps is recorded once.

    Any failure to write raises `sweeps.writer.RecordError` at the next call; `end` is to be called
    all the same, and closes what it can. The methods are called from one thread.
    """

    def __init__(
        self,
        client: MlflowClient,
        experiment_id: str,
        run_id: str,
        name: str,
        objective: Objective,
        inputs: Sequence[DatasetInput] = (),
    ) -> None:
        self.client = client
        self.experiment_id = experiment_id
        self.run_id = run_id
        self.name = name
        self.objective: Objective = objective
        self._inputs = list(inputs)
        self._trials: dict[int | str, _Trial] = {}
        self._writer = BatchWriter(client)

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
    ) -> Self:
        """Start the run of a new sweep.

        Args:
            client: client of the store.
            experiment_id: the experiment's id.
            name: the sweep's name; see `check_sweep_name` and `new_sweep_name`.
            objective: what the sweep goes by.
            parameters: of the sweep itself, `dataset` and `dataset_fingerprint` among them.
            precision: the precision taken.
            space_yaml: the space, kept as the artifact `space.yaml`.
            inputs: the data, an input of the sweep's run and of every trial's.
            tags: further tags.

        Raises:
            InputError: the name can't be one, or a sweep of the experiment has it.
        """
        check_sweep_name(name)
        if sweep_run(client, [experiment_id], name) is not None:
            raise InputError(
                f"--name {name}: there is a sweep of that name; go on with it by --resume {name}, "
                "or name another"
            )
        run_id = open_run(
            client,
            experiment_id,
            name,
            tags={
                **provenance_tags(precision),
                **(tags or {}),
                "sweep.role": "sweep",
                "sweep.name": name,
                "sweep.state": "running",
            },
        )
        with ended_on_failure(client, run_id, {"sweep.state": "interrupted"}):
            log_batch(client, run_id, parameters={**parameters, "objective": objective})
            client.log_text(run_id, space_yaml, "space.yaml")
            if inputs:
                client.log_inputs(run_id, list(inputs))
            return cls(client, experiment_id, run_id, name, objective, inputs)

    @classmethod
    def resume(cls, client: MlflowClient, run: Run) -> Self:
        """Go on with a sweep in its own run and its trials' own runs.

        Args:
            client: client of the store.
            run: the sweep's run, from `sweeps.history.find_sweep`.

        Raises:
            InputError: another process is at it.
        """
        name = run.data.tags["sweep.name"]
        if run.info.status == "RUNNING" and is_alive(run.data.tags):
            raise InputError(
                f"the sweep {name} is running, in process {run.data.tags['process.pid']}: wait for "
                "it, or end that process first"
            )
        objective = cast(Objective, run.data.params["objective"])
        trials: dict[int | str, _Trial] = {}
        for trial in trials_of(client, run):
            # A trial that was cut off goes on: its last step tells what is recorded already.
            last_step = -1
            if trial.outcome not in ("completed", "stopped_early"):
                epochs = client.get_metric_history(trial.run_id, "epoch")
                last_step = max((metric.step for metric in epochs), default=-1)
            trials[trial.key] = _Trial(
                created=_known(trial.run_id),
                role=trial.role,
                last_step=last_step,
                outcome=trial.outcome,
                best=trial.metrics.get(f"best/{objective}"),
            )
        run_id = run.info.run_id
        with ended_on_failure(client, run_id, {"sweep.state": "interrupted"}):
            # The process comes first: a run that is RUNNING for a dead one would be closed.
            log_batch(client, run_id, tags={**process_tags(), "sweep.state": "running"})
            client.update_run(run_id, status="RUNNING")
            inputs = run.inputs.dataset_inputs if run.inputs else []
            tracker = cls(client, run.info.experiment_id, run_id, name, objective, inputs)
        tracker._trials = trials
        return tracker

    def start_trial(
        self,
        key: int | str,
        parameters: Mapping[str, str],
        name: str,
        *,
        role: Role = "trial",
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Start the run of a trial, or take up again the one that it has; return the run's id.

        Args:
            key: the trial's number from 0, or the name of a confirmation or a baseline.
            parameters: from `sentiment.record.run_parameters`.
            name: what the trial is, in words; the run's name puts the number before it.
            role: what the run is to the sweep.
            tags: further tags of a run that is made.

        Raises:
            RecordError: it could not be started, or earlier writing failed.
        """
        known = self._trials.get(key)
        if known is not None:
            known.outcome = None
            self._write(partial(self._take_up, known.run_id))
            return known.run_id
        all_tags = {
            **(tags or {}),
            "mlflow.parentRunId": self.run_id,
            "sweep.role": role,
            "sweep.name": self.name,
        }
        if isinstance(key, int):
            all_tags["sweep.trial"] = str(key)
            name = f"{key:03d} {name}"
        else:
            all_tags[f"sweep.{role}"] = key
        make = partial(open_run, self.client, self.experiment_id, name, tags=all_tags)
        # Known before it is waited for: the run is made even if the waiting is interrupted.
        trial = self._trials[key] = _Trial(self._writer.call(make), role)
        run_id = trial.run_id
        self._write(partial(log_batch, self.client, run_id, parameters=parameters))
        if self._inputs:
            self._write(partial(self.client.log_inputs, run_id, self._inputs))
        return run_id

    def trial_metrics(self, key: int | str, step: int, metrics: Mapping[str, float]) -> None:
        """Record a trial's metrics at a number of training examples seen.

        A step that the trial has recorded before, as after a retry, is passed over.
        """
        trial = self._trials[key]
        if step > trial.last_step:
            trial.last_step = step
            self._writer.metrics(trial.run_id, as_metrics(metrics, step))

    def log_trial_model(
        self, key: int | str, bundle: Path, metrics: Mapping[str, float], step: int
    ) -> None:
        """Keep a trial's best checkpoint as its logged model.

        Args:
            key: the trial.
            bundle: the saved bundle's folder; it must stay as it is until `flush` returns.
            metrics: what the checkpoint reached, `best/…`; recorded with the run and the model.
            step: training examples that it has seen.
        """
        trial = self._trials[key]
        trial.recorded_with_model = frozenset(metrics)
        name = f"trial-{key:03d}" if isinstance(key, int) else key
        trial.model = self._writer.call(
            partial(
                log_bundle,
                self.client,
                trial.run_id,
                bundle,
                name=name,
                metrics=metrics,
                step=step,
                at=now_ms(),
            )
        )

    def end_trial(
        self,
        key: int | str,
        outcome: Outcome,
        *,
        metrics: Mapping[str, float] | None = None,
        step: int = 0,
        error: str | None = None,
    ) -> None:
        """End a trial's run, and count it in the sweep's.

        Args:
            key: the trial.
            outcome: how it ended.
            metrics: recorded once, of the best checkpoint and of the whole trial: `best/…`,
                `parameters/…`, `seconds/total`.
            step: training examples that the best checkpoint has seen.
            error: the traceback of one that failed.
        """
        trial, at = self._trials[key], now_ms()
        trial.outcome = outcome
        metrics = metrics or {}
        trial.best = metrics.get(f"best/{self.objective}", trial.best)
        rest = {n: value for n, value in metrics.items() if n not in trial.recorded_with_model}
        self._writer.metrics(trial.run_id, as_metrics(rest, step, at))
        self._write(
            partial(
                close_run,
                self.client,
                trial.run_id,
                STATUS[outcome],
                tags={"sweep.outcome": outcome},
                error=None if error is None else redacted(error),
                at=at,
            )
        )
        if trial.role == "trial" and outcome != "interrupted":
            self._count(at)

    def add_metrics(self, key: int | str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record metrics of a trial that has ended, and of its model: its test scores, once."""
        trial = self._trials[key]
        measured = as_metrics(metrics, step, model_id=self.model_of(key))
        self._writer.metrics(trial.run_id, measured)

    def run_of(self, key: int | str) -> str:
        """Return the id of a trial's run."""
        return self._trials[key].run_id

    def model_of(self, key: int | str) -> str | None:
        """Return the id of a trial's logged model, once it is written; None if it has none."""
        trial = self._trials[key]
        if trial.model is None:
            run = self.client.get_run(trial.run_id)
            models = run.outputs.model_outputs if run.outputs else []
            return models[-1].model_id if models else None
        return trial.model.result()

    def sweep_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record metrics of the sweep as a whole."""
        self._writer.metrics(self.run_id, as_metrics(metrics, 0))

    def describe(self, text: str) -> None:
        """Set the description of the sweep's run, in Markdown."""
        tags = {DESCRIPTION_TAG: text}
        self._write(partial(log_batch, self.client, self.run_id, tags=tags))

    def log_text(self, text: str, file: str) -> None:
        """Keep a text as an artifact of the sweep's run."""
        self._write(partial(self.client.log_text, self.run_id, text, file))

    def log_table(self, table: pd.DataFrame, file: str = "leaderboard.csv") -> None:
        """Keep a table as a CSV among the artifacts of the sweep's run."""
        self.log_text(table.to_csv(index=False), file)

    def flush(self) -> None:
        """Wait until all is written."""
        self._writer.flush()

    def end(self, state: SweepState) -> None:
        """End the sweep's run and the writing; trials still open are interrupted.

        Control-C and SIGTERM are ignored meanwhile. A later call does nothing.

        Raises:
            RecordError: something could not be written. The runs that this left open are closed
                as interrupted all the same, as far as the store lets them be.
        """
        if self._writer.closed:
            return
        with _undisturbed():
            try:
                try:
                    self._hand_over_the_end(state)
                finally:
                    self._writer.close()
            except BaseException:
                self._close_what_is_open()
                raise

    def _hand_over_the_end(self, state: SweepState) -> None:
        for key, trial in self._trials.items():
            if trial.outcome is None:
                self.end_trial(key, "interrupted")
        status: RunStatus = "FINISHED" if state == "finished" else "KILLED"
        tags = {"sweep.state": state}
        self._write(partial(close_run, self.client, self.run_id, status, tags=tags, at=now_ms()))

    def _close_what_is_open(self) -> None:
        """Close the sweep's runs without the writer, each tried once; what fails is logged.

        The store tells which are open: of a trial that has ended, the end may not be written.
        """
        try:
            parent = self.client.get_run(self.run_id)
            trials = search_runs(
                self.client,
                [self.experiment_id],
                f"attributes.status = 'RUNNING' and tags.`mlflow.parentRunId` = '{self.run_id}'",
            )
            found = [(run.info.run_id, {"sweep.outcome": "interrupted"}) for run in trials]
        except Exception as error:  # noqa: BLE001 - the failure before it is raised
            _log.warning("the sweep's runs may stay open, the store can't be read: %s", error)
            return
        if parent.info.status == "RUNNING":
            found.append((self.run_id, {"sweep.state": "interrupted"}))
        for run_id, tags in found:
            try:
                close_run(self.client, run_id, "KILLED", tags=tags)
            except Exception as error:  # noqa: BLE001 - the failure before it is raised
                _log.warning("the run %s stays open: %s", run_id, error)

    def _write(self, function: partial[None]) -> None:
        self._writer.call(function)

    def _take_up(self, run_id: str) -> None:
        log_batch(self.client, run_id, tags=process_tags())
        self.client.update_run(run_id, status="RUNNING")
        if "sweep.outcome" in self.client.get_run(run_id).data.tags:
            self.client.delete_tag(run_id, "sweep.outcome")

    def _count(self, at: int) -> None:
        """Record how the sweep stands; the step is the number of trials ended."""
        trials = [trial for trial in self._trials.values() if trial.role == "trial"]
        outcomes = [trial.outcome for trial in trials]
        metrics: dict[str, float] = {
            f"sweep/{outcome}": outcomes.count(outcome)
            for outcome in ("completed", "stopped_early", "failed")
        }
        step = int(sum(metrics.values()))
        bests = [
            trial.best
            for trial in trials
            if trial.best is not None and trial.outcome in ("completed", "stopped_early")
        ]
        if bests:
            metrics["sweep/best"] = best_of(bests, self.objective)
        self._writer.metrics(self.run_id, as_metrics(metrics, step, at))


def _known(run_id: str) -> Future[str]:
    """Return a run's id as one that is there already."""
    future: Future[str] = Future()
    future.set_result(run_id)
    return future


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore the signals that interrupt; only the main thread gets any, so elsewhere do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A handler of its own, as processes started meanwhile would inherit SIG_IGN.
    before = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            # None stands for a handler that was not set from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def best_of(values: Iterable[float], objective: Objective) -> float:
    """Return the best of values of the objective."""
    return min(values) if objective == "valid/loss" else max(values)


def close_orphans(client: MlflowClient, experiment_id: str) -> list[str]:
    """End the runs that dead processes of this machine left RUNNING, and return their ids.

    The runs of live processes and of other machines stay as they are.
    """
    closed = []
    for run in search_runs(client, [experiment_id], "attributes.status = 'RUNNING'"):
        tags = run.data.tags
        if is_alive(tags) is not False:
            continue
        notes = {
            "closed.by": "a later command",
            "closed.reason": f"process {tags['process.pid']} ended without closing it",
        }
        if tags.get("sweep.role") == "sweep":
            notes["sweep.state"] = "interrupted"
        elif "sweep.role" in tags:
            notes["sweep.outcome"] = "interrupted"
        close_run(client, run.info.run_id, "KILLED", tags=notes)
        closed.append(run.info.run_id)
    return closed
