"""What a sweep writes to MLflow: its own run, and one run a trial.

The driver calls a `SweepTracker`; once the sweep's run is started, everything goes to a journal on
disk, and from there to the store by one thread, with the times at which it happened.
"""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, cast

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Run

from sentiment.config import Objective
from sentiment.errors import InputError
from sentiment.tracking.batches import log_batch, now_ms
from sentiment.tracking.provenance import (
    PRECISION_TAG,
    is_alive,
    process_tags,
    provenance_tags,
    redacted,
)
from sentiment.tracking.runs import RunStatus, close_run, ended_on_failure, open_run
from sweeps.signals import deferred_interrupts
from sweeps.tracking.mlflow_sink import MlflowSink, Point
from sweeps.tracking.outbox import Kind, Outbox, UndeliveredError
from sweeps.tracking.queries import TrialRecord, search_runs, sweep_run, trials_of
from sweeps.tracking.roles import Role
from sweeps.tracking.writer import BatchWriter
from sweeps.trials.outcomes import ENDED, STATUS, Outcome

SweepState = Literal["finished", "interrupted"]

DESCRIPTION_TAG = "mlflow.note.content"
"""Where MLflow keeps the description of a run."""

T = TypeVar("T")

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass
class _Trial:
    """What the tracker knows of a trial's run."""

    role: Role
    last_step: int = -1
    outcome: Outcome | None = None
    best: float | None = None
    recorded_once: frozenset[str] = frozenset()
    has_model: bool = False


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

    A store that does not answer holds up nothing: what it has not got stands in the journal, and
    is sent when it answers. Any other failure to write raises `sweeps.tracking.outbox.RecordError`
    at the next call; `end` is to be called all the same, and closes what it can. The methods are
    called from one thread.
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
        runs: Mapping[int | str, str] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Take up the record of a sweep whose run is there; see `start` and `resume`.

        Args:
            client: client of the store.
            experiment_id: the experiment's id.
            run_id: the sweep's run.
            name: the sweep's name.
            objective: what the sweep goes by.
            folder: the sweep's own, where the journal lies; a temporary one, if None, for a
                record that nobody goes on with.
            runs: the trials' runs that are there.
            say: told in a line when the store stops answering, and when it answers again.
        """
        self.client = client
        self.experiment_id = experiment_id
        self.run_id = run_id
        self.name = name
        self.objective: Objective = objective
        self._trials: dict[int | str, _Trial] = {}
        self._counted_at = 0
        self._scratch = None if folder is not None else Path(tempfile.mkdtemp(prefix="record-"))
        journal = Outbox(folder or self._scratch or Path())
        self._delivery = MlflowSink(client, run_id, journal, runs)
        self._writer = BatchWriter(self._delivery, journal, notify=say)

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
        say: Callable[[str], None] | None = None,
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
            folder: the sweep's own; see `__init__`.
            say: told of outages; see `__init__`.

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
            return cls(client, experiment_id, run_id, name, objective, folder=folder, say=say)

    @classmethod
    def resume(
        cls,
        client: MlflowClient,
        run: Run,
        *,
        parameters: Mapping[str, str] | None = None,
        folder: Path | None = None,
        say: Callable[[str], None] | None = None,
    ) -> Self:
        """Go on with a sweep in its own run and its trials' own runs.

        Args:
            client: client of the store.
            run: the sweep's run, from `sweeps.tracking.queries.find_sweep`.
            parameters: of the sweep, with its `objective`; recorded where a kill has kept them out.
            folder: the sweep's own; see `__init__`.
            say: told of outages; see `__init__`.

        Raises:
            InputError: another process is at it.
        """
        name = run.data.tags["sweep.name"]
        if run.info.status == "RUNNING" and is_alive(run.data.tags):
            raise InputError(
                f"the sweep {name} is running, in process {run.data.tags['process.pid']}: wait for "
                "it, or end that process first"
            )
        missing = {n: v for n, v in (parameters or {}).items() if n not in run.data.params}
        objective = cast(Objective, {**missing, **run.data.params}["objective"])
        trials: dict[int | str, _Trial] = {}
        runs: dict[int | str, str] = {}
        for trial in trials_of(client, run):
            runs[trial.key] = trial.run_id
            known = trials[trial.key] = _Trial(
                role=trial.role,
                outcome=trial.outcome,
                best=trial.metrics.get(f"best/{objective}"),
            )
            if trial.outcome not in ENDED:
                # A trial that was cut off goes on: what is recorded already is not done again.
                epochs = client.get_metric_history(trial.run_id, "epoch")
                known.last_step = max((metric.step for metric in epochs), default=-1)
                known.recorded_once = frozenset(trial.metrics)
                known.has_model = trial.model_id is not None
        run_id = run.info.run_id
        # Made first: it takes the journal, which one process has at a time.
        tracker = cls(
            client,
            run.info.experiment_id,
            run_id,
            name,
            objective,
            folder=folder,
            runs=runs,
            say=say,
        )
        tracker._trials = trials
        with ended_on_failure(client, run_id, {"sweep.state": "interrupted"}):
            # The process comes first: a run that is RUNNING for a dead one would be closed.
            tags = {**process_tags(), "sweep.state": "running"}
            log_batch(client, run_id, parameters=missing, tags=tags)
            client.update_run(run_id, status="RUNNING")
            for tag in ("closed.by", "closed.reason"):
                if tag in run.data.tags:
                    client.delete_tag(run_id, tag)
        return tracker

    def start_trial(
        self,
        key: int | str,
        parameters: Mapping[str, str],
        name: str,
        *,
        role: Role = "trial",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Start the run of a trial, or take up again the one that it has.

        Args:
            key: the trial's number from 0, or the name of a confirmation or a baseline.
            parameters: from `sentiment.tracking.runs.run_parameters`.
            name: what the trial is, in words; the run's name puts the number before it.
            role: what the run is to the sweep.
            tags: further tags of a run that is made.

        Raises:
            RecordError: earlier writing failed.
        """
        known = self._trials.get(key)
        if known is not None:
            known.outcome = None
            self._write("reopen", key, {"tags": process_tags()})
            # A kill may have come between the run and its parameters; the same ones count once.
            self._write("log", key, {"params": dict(parameters)})
            return
        all_tags = {
            **(tags or {}),
            **process_tags(),
            "mlflow.parentRunId": self.run_id,
            "sweep.role": role,
            "sweep.name": self.name,
        }
        if isinstance(key, int):
            all_tags["sweep.trial"] = str(key)
            name = f"{key:03d} {name}"
        else:
            all_tags[f"sweep.{role}"] = key
        self._trials[key] = _Trial(role)
        self._write("start", key, {"name": name, "tags": all_tags, "at": now_ms()})
        self._write("log", key, {"params": dict(parameters)})

    def has_ended(self, key: int | str) -> bool:
        """Whether a trial has a run, and its end is recorded."""
        return key in self._trials and self._trials[key].outcome in ENDED

    def trial_metrics(
        self, key: int | str, step: int, metrics: Mapping[str, float], at: int | None = None
    ) -> None:
        """Record a trial's metrics at a number of training examples seen.

        A step that the trial has recorded before, as after a retry, is passed over.

        Args:
            key: the trial.
            step: training examples seen.
            metrics: by name.
            at: milliseconds since the epoch at which they were measured; now, if None.
        """
        trial = self._trials[key]
        if step > trial.last_step:
            trial.last_step = step
            self._log(key, metrics, step, at)

    def note_failure(self, key: int | str, count: int, error: str) -> None:
        """Keep the traceback of a failure after which a trial is tried again.

        Args:
            key: the trial.
            count: its failures so far.
            error: the traceback, kept as the artifact `failure-1.txt`.
        """
        text = {"text": redacted(error), "artifact_file": f"failure-{count}.txt"}
        self._write("text", key, text)
        self._write("log", key, {"tags": {"sweep.retries": str(count)}})

    def log_trial_model(
        self,
        key: int | str,
        bundle: Path,
        metrics: Mapping[str, float],
        step: int,
        at: int | None = None,
    ) -> None:
        """Keep a trial's best checkpoint as its logged model, unless it has that already.

        Args:
            key: the trial.
            bundle: the saved bundle's folder; it may go once this returns.
            metrics: what the checkpoint reached, `best/…`; recorded with the run and the model.
            step: training examples that it has seen.
            at: milliseconds since the epoch at which they were measured; now, if None.
        """
        trial = self._trials[key]
        trial.recorded_once |= frozenset(metrics)
        if trial.has_model:
            return
        trial.has_model = True
        self._write(
            "model",
            key,
            {
                "folder": self._writer.keep_model(bundle, key),
                "name": f"trial-{key:03d}" if isinstance(key, int) else key,
                "metrics": {name: float(value) for name, value in metrics.items()},
                "step": step,
                "at": now_ms() if at is None else at,
            },
        )

    def end_trial(
        self,
        key: int | str,
        outcome: Outcome,
        *,
        metrics: Mapping[str, float] | None = None,
        step: int = 0,
        error: str | None = None,
        at: int | None = None,
        precision: str | None = None,
    ) -> None:
        """End a trial's run, and count it in the sweep's.

        Args:
            key: the trial.
            outcome: how it ended.
            metrics: recorded once, of the best checkpoint and of the whole trial: `best/…`,
                `parameters/…`, `seconds/total`.
            step: training examples that the best checkpoint has seen.
            error: the traceback of one that failed.
            at: milliseconds since the epoch at which it ended; now, if None.
            precision: what its recurrent layers were computed in, if it has any.
        """
        trial, at = self._trials[key], now_ms() if at is None else at
        trial.outcome = outcome
        metrics = metrics or {}
        trial.best = metrics.get(f"best/{self.objective}", trial.best)
        rest = {n: value for n, value in metrics.items() if n not in trial.recorded_once}
        self._log(key, rest, step, at)
        ending = {
            "status": STATUS[outcome],
            "tags": {
                "sweep.outcome": outcome,
                **({} if precision is None else {PRECISION_TAG: precision}),
            },
            "error": None if error is None else redacted(error),
            "at": at,
        }
        self._write("end", key, ending)
        if trial.role == "trial" and outcome != "interrupted":
            # Trials may be recorded in another order than they ended in; time goes on with steps.
            self._counted_at = max(self._counted_at, at)
            self._count(self._counted_at)

    def add_metrics(self, key: int | str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record metrics of a trial that has ended, and of its model: its test scores, once."""
        self._log(key, metrics, step, of_model=True)

    def run_of(self, key: int | str) -> str:
        """Return the id of a trial's run, once it is made.

        Raises:
            LookupError: there is no such trial.
            RecordError: the store does not answer, or earlier writing failed.
        """
        return self.ask(lambda: self._delivery.run_of(key))

    def known_run(self, key: int | str) -> str | None:
        """Return the id of a trial's run; None while the store has not made it."""
        return self._delivery.known_run(key)

    def model_of(self, key: int | str) -> str | None:
        """Return the id of a trial's logged model, once it is written; None if it has none.

        Raises:
            RecordError: the store does not answer, or earlier writing failed.
        """
        return self.ask(lambda: self._delivery.model_of(key))

    def ask(self, function: Callable[[], T]) -> T:
        """Call a function that needs the store, once all before is written; wait out an outage.

        Args:
            function: called again after a failure, so it must be such that twice counts once.

        Raises:
            RecordError: the store does not answer, or earlier writing failed.
        """
        return self._writer.call(function)

    def sweep_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record metrics of the sweep as a whole."""
        self._log(None, metrics, 0)

    def describe(self, text: str) -> None:
        """Set the description of the sweep's run, in Markdown."""
        self._write("log", None, {"tags": {DESCRIPTION_TAG: text}})

    def complete_counts(self) -> None:
        """Record how the sweep stood after each trial, where a kill has kept that out."""

        def look() -> tuple[set[int], list[TrialRecord]]:
            counts = self.client.get_metric_history(self.run_id, "sweep/completed")
            trials = trials_of(self.client, self.client.get_run(self.run_id))
            return {metric.step for metric in counts}, trials

        recorded, trials = self.ask(look)
        ended = [trial for trial in trials if trial.role == "trial" and trial.outcome in ENDED]
        ended.sort(key=lambda trial: trial.ended or 0)
        standing = [(t.outcome, t.metrics.get(f"best/{self.objective}")) for t in ended]
        for step, trial in enumerate(ended, start=1):
            if step not in recorded:
                self._log(None, self._standing(standing[:step]), step, trial.ended)

    def log_text(self, text: str, file: str) -> None:
        """Keep a text as an artifact of the sweep's run."""
        self._write("text", None, {"text": text, "artifact_file": file})

    def log_table(self, table: pd.DataFrame, file: str = "leaderboard.csv") -> None:
        """Keep a table as a CSV among the artifacts of the sweep's run."""
        self.log_text(table.to_csv(index=False), file)

    def flush(self) -> None:
        """Wait until all is written."""
        self._writer.flush()

    def end(self, state: SweepState) -> None:
        """End the sweep's run and the writing; trials still open are interrupted.

        A first Control-C or SIGTERM has no effect meanwhile. A later call does nothing.

        Raises:
            UndeliveredError: the store does not answer; the journal has the rest of the record.
            RecordError: something could not be written. The runs that this left open are closed
                as interrupted all the same, as far as the store lets them be.
        """
        if self._writer.closed:
            return
        with deferred_interrupts():
            try:
                try:
                    self._hand_over_the_end(state)
                finally:
                    self._writer.close(interrupted=state == "interrupted")
            except UndeliveredError:
                raise
            except BaseException:
                self._close_what_is_open()
                raise
            finally:
                if self._scratch is not None:
                    shutil.rmtree(self._scratch, ignore_errors=True)

    def _hand_over_the_end(self, state: SweepState) -> None:
        for key, trial in self._trials.items():
            if trial.outcome is None:
                self.end_trial(key, "interrupted")
        status: RunStatus = "FINISHED" if state == "finished" else "KILLED"
        self._write("end", None, {"status": status, "tags": {"sweep.state": state}, "at": now_ms()})

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

    def _write(self, kind: Kind, key: int | str | None, content: dict[str, Any]) -> None:
        self._writer.write(kind, key, content)

    def _log(
        self,
        key: int | str | None,
        metrics: Mapping[str, float],
        step: int,
        at: int | None = None,
        of_model: bool = False,
    ) -> None:
        at = now_ms() if at is None else at
        points: list[Point] = [
            (name, float(value), step, at, of_model) for name, value in metrics.items()
        ]
        if points:
            self._write("log", key, {"metrics": points})

    def _count(self, at: int) -> None:
        """Record how the sweep stands; the step is the number of trials ended."""
        ended = [
            (trial.outcome, trial.best)
            for trial in self._trials.values()
            if trial.role == "trial" and trial.outcome in ENDED
        ]
        self._log(None, self._standing(ended), len(ended), at)

    def _standing(self, ended: Sequence[tuple[Outcome | None, float | None]]) -> dict[str, float]:
        """Return the sweep's metrics after trials that ended with an outcome and a best value."""
        outcomes = [outcome for outcome, _ in ended]
        metrics: dict[str, float] = {
            f"sweep/{outcome}": outcomes.count(outcome) for outcome in ENDED
        }
        bests = [best for outcome, best in ended if best is not None and outcome != "failed"]
        if bests:
            metrics["sweep/best"] = best_of(bests, self.objective)
        return metrics


def best_of(values: Iterable[float], objective: Objective) -> float:
    """Return the best of values of the objective."""
    return min(values) if objective == "valid/loss" else max(values)


def close_orphans(client: MlflowClient) -> list[str]:
    """End the runs that dead processes of this machine left RUNNING, and return their ids.

    In all experiments of the store. The runs of live processes and of other machines stay as they
    are.
    """
    closed = []
    experiments = [each.experiment_id for each in client.search_experiments()]
    for found in search_runs(client, experiments, "attributes.status = 'RUNNING'"):
        if is_alive(found.data.tags) is not False:
            continue
        # Once more: a resume may have taken it up, or its sweep have closed it, since the search.
        run = client.get_run(found.info.run_id)
        tags = run.data.tags
        if run.info.status != "RUNNING" or is_alive(tags) is not False:
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
