"""From an outbox's entries to the store; an entry that is delivered twice counts once.

A request whose answer was lost may have gone through. MLflow has no way to say "this is the same
one", so what would count twice is looked up before it is sent again: runs and models by their
tags, metrics by name, step and time, all of which an entry brings with it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol, TypeVar

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, LoggedModel, LoggedModelOutput, Metric, Run

from sentiment.tracking.batches import as_metrics, log_batch
from sentiment.tracking.logged_model import save_mlflow_model
from sentiment.tracking.runs import close_run
from sweeps.tracking.outbox import Entry, Outbox
from sweeps.tracking.queries import search_runs
from sweeps.tracking.roles import ROLES

T = TypeVar("T")
Point = tuple[str, float, int, int, bool]
"""A metric: name, value, step, milliseconds since the epoch, whether it describes the model."""

_ENTRY_TAG = "sweep.entry"


class Attempt(Protocol):
    """Makes a request until it gets an answer, and returns that."""

    def __call__(self, request: Callable[[bool], T], again: bool = False) -> T:
        """Make a request.

        Args:
            request: called with whether an earlier try may have gone through.
            again: whether one may have before the first call.
        """


class MlflowSink:
    """Delivers the entries of one sweep. Its methods are called from one thread.

    Every request stands alone in what is tried again: a server that refuses every third would
    never take the many of a model in a row.
    """

    def __init__(
        self,
        client: MlflowClient,
        run_id: str,
        outbox: Outbox,
        runs: Mapping[int | str, str] | None = None,
    ) -> None:
        """Start with the runs that are known.

        Args:
            client: client of the store.
            run_id: the sweep's run.
            outbox: has the models of its entries.
            runs: ids of the trials' runs that are there.
        """
        self.client = client
        self.run_id = run_id
        self._outbox = outbox
        self._runs: dict[int | str, str] = dict(runs or {})
        self._models: dict[int | str, str] = {}
        self._unsure_runs: set[int | str] = set()
        self._unsure_models: dict[int | str, str] = {}

    def run_of(self, key: int | str | None) -> str:
        """Return the id of the run of a trial, or of the sweep (None).

        Raises:
            LookupError: the trial has no run.
        """
        if key is None:
            return self.run_id
        if key not in self._runs:
            found = self._search(key)
            if not found:
                raise LookupError(f"the store has no run of trial {key}")
            self._runs[key] = found[0].info.run_id
        return self._runs[key]

    def known_run(self, key: int | str) -> str | None:
        """Return the id of a trial's run if it is known; the store is not asked."""
        return self._runs.get(key)

    def model_of(self, key: int | str) -> str | None:
        """Return the id of a trial's newest logged model; None if it has none."""
        if key not in self._models:
            run = self.client.get_run(self.run_of(key))
            models = run.outputs.model_outputs if run.outputs else []
            if not models:
                return None
            self._models[key] = models[-1].model_id
        return self._models[key]

    def deliver(self, entry: Entry, again: bool, attempt: Attempt) -> None:
        """Deliver one entry of any kind but `log`.

        Args:
            entry: what happened.
            again: whether it may have been delivered before.
            attempt: makes its requests.
        """
        match entry.kind:
            case "start":
                attempt(partial(self._start, entry), again)
                attempt(lambda _: self._link_data(entry.key))
            case "reopen":
                attempt(lambda _: self._reopen(entry))
            case "model":
                self._model(entry, again, attempt)
            case "end":
                run_id = attempt(lambda _: self.run_of(entry.key))
                attempt(lambda _: close_run(self.client, run_id, **entry.content))
            case "text":
                run_id = attempt(lambda _: self.run_of(entry.key))
                attempt(lambda _: self.client.log_text(run_id, **entry.content))
            case _:
                raise ValueError(f"{entry.kind!r} is no kind of entry")

    def log(
        self, key: int | str | None, entries: Sequence[Entry], again: bool, attempt: Attempt
    ) -> None:
        """Deliver entries of the kind `log` of one run, together; see `deliver`."""
        run_id = attempt(lambda _: self.run_of(key))
        points: list[Point] = [p for each in entries for p in each.content.get("metrics", ())]
        model_id = None
        if key is not None and any(of_model for *_, of_model in points):
            model_id = attempt(lambda _: self.model_of(key))
        self._log(
            run_id,
            [
                Metric(name, value, at, step, model_id=model_id if of_model else None)
                for name, value, step, at, of_model in points
            ],
            again,
            attempt,
            parameters={
                n: v for each in entries for n, v in each.content.get("params", {}).items()
            },
            tags={n: v for each in entries for n, v in each.content.get("tags", {}).items()},
        )

    def delete_duplicates(self) -> None:
        """Delete the runs and models of requests that took effect after they were sent again."""
        for key in list(self._unsure_runs):
            for run in self._search(key):
                if run.info.run_id != self._runs[key]:
                    self.client.delete_run(run.info.run_id)
            self._unsure_runs.discard(key)
        for key, mark in list(self._unsure_models.items()):
            for model in self._models_marked(self.run_of(key), mark):
                if model.model_id != self._models[key]:
                    self.client.delete_logged_model(model.model_id)
            del self._unsure_models[key]

    def _start(self, entry: Entry, again: bool) -> None:
        assert entry.key is not None, "the sweep's own run is there before its outbox"
        found = self._search(entry.key) if again else []
        if found:
            self._runs[entry.key] = found[0].info.run_id
            return
        content = entry.content
        run = self.client.create_run(
            self._experiment_id, content["at"], content["tags"], content["name"]
        )
        self._runs[entry.key] = run.info.run_id
        if again:
            self._unsure_runs.add(entry.key)

    def _link_data(self, key: int | str | None) -> None:
        if self._inputs:
            self.client.log_inputs(self.run_of(key), self._inputs)

    def _reopen(self, entry: Entry) -> None:
        run_id = self.run_of(entry.key)
        log_batch(self.client, run_id, tags=entry.content["tags"])
        self.client.update_run(run_id, status="RUNNING")
        there = self.client.get_run(run_id).data.tags
        for tag in ("sweep.outcome", "closed.by", "closed.reason"):
            if tag in there:
                self.client.delete_tag(run_id, tag)

    def _model(self, entry: Entry, again: bool, attempt: Attempt) -> None:
        key, content, client = entry.key, entry.content, self.client
        assert key is not None, "the sweep itself has no model"
        run_id = attempt(lambda _: self.run_of(key))
        mark = f"{entry.number}-{content['at']}"

        def create(again: bool) -> str:
            begun = self._models_marked(run_id, mark) if again else []
            if again and not begun:
                self._unsure_models[key] = mark
            model = (
                begun[0]
                if begun
                else client.create_logged_model(
                    self._experiment_id,
                    content["name"],
                    source_run_id=run_id,
                    tags={_ENTRY_TAG: mark},
                )
            )
            model_id: str = model.model_id
            return model_id

        def link(again: bool) -> None:
            outputs = client.get_run(run_id).outputs if again else None
            there = outputs.model_outputs if outputs else []
            if model_id not in [each.model_id for each in there]:
                client.log_outputs(run_id, [LoggedModelOutput(model_id, content["step"])])

        model_id = self._models[key] = attempt(create, again)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "model")
            bundle = self._outbox.model(content["folder"])
            save_mlflow_model(bundle, folder, model_id=model_id, run_id=run_id)
            attempt(lambda again: self._upload(model_id, folder, again, attempt))
        attempt(lambda _: client.finalize_logged_model(model_id, "READY"))
        attempt(link, again)
        metrics = as_metrics(content["metrics"], content["step"], content["at"], model_id)
        self._log(run_id, metrics, again, attempt)

    def _upload(self, model_id: str, folder: Path, again: bool, attempt: Attempt) -> None:
        """Upload a model's files: at once, or one by one after that has failed."""
        if not again:
            self.client.log_model_artifacts(model_id, str(folder))
            return
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                place = path.parent.relative_to(folder).as_posix()
                one = (model_id, str(path), None if place == "." else place)
                attempt(partial(_ignoring, self.client.log_model_artifact, one))

    def _log(
        self,
        run_id: str,
        metrics: list[Metric],
        again: bool,
        attempt: Attempt,
        parameters: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        def send(again: bool) -> None:
            some = self._missing(run_id, metrics, attempt) if again else metrics
            log_batch(self.client, run_id, metrics=some, parameters=parameters, tags=tags)

        attempt(send, again)

    def _models_marked(self, run_id: str, mark: str) -> list[LoggedModel]:
        found = self.client.search_logged_models(
            [self._experiment_id], f"source_run_id = '{run_id}'"
        )
        return [model for model in found if model.tags.get(_ENTRY_TAG) == mark]

    def _missing(self, run_id: str, metrics: list[Metric], attempt: Attempt) -> list[Metric]:
        """Return the metrics that the store does not have."""
        there = set()
        for name in dict.fromkeys(metric.key for metric in metrics):
            ask = partial(_ignoring, self.client.get_metric_history, (run_id, name))
            history: list[Metric] = attempt(ask)
            there |= {(name, point.step, point.timestamp) for point in history}
        return [each for each in metrics if (each.key, each.step, each.timestamp) not in there]

    def _search(self, key: int | str) -> list[Run]:
        """Return the runs of a trial, the oldest first; there is one, or none yet."""
        found: list[Run] = []
        for role in ROLES[:1] if isinstance(key, int) else ROLES[1:]:
            found += search_runs(
                self.client,
                [self._experiment_id],
                f"tags.`mlflow.parentRunId` = '{self.run_id}' and tags.`sweep.role` = '{role}' "
                f"and tags.`sweep.{role}` = '{key}'",
            )
        return sorted(found, key=lambda run: run.info.start_time)

    @cached_property
    def _inputs(self) -> list[DatasetInput]:
        """The data, an input of the sweep's run and of every trial's."""
        inputs = self.client.get_run(self.run_id).inputs
        return list(inputs.dataset_inputs) if inputs else []

    @cached_property
    def _experiment_id(self) -> str:
        experiment_id: str = self.client.get_run(self.run_id).info.experiment_id
        return experiment_id


def _ignoring(function: Callable[..., T], arguments: tuple[str | None, ...], again: bool) -> T:
    """Call what may be called twice, whether or not it is again."""
    return function(*arguments)
