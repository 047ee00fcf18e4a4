"""From an outbox's entries to the store; an entry that is delivered twice counts once.

A request whose answer was lost may have gone through. MLflow has no way to say "this is the same
one", so what would count twice is looked up before it is sent again: runs and models by their
tags, metrics by name, step and time, all of which an entry brings with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Metric

from sentiment.tracking.batches import as_metrics, log_batch
from sentiment.tracking.runs import close_run
from sweeps.tracking.attempt import Attempt
from sweeps.tracking.model_delivery import ModelDelivery
from sweeps.tracking.outbox import Entry, Outbox
from sweeps.tracking.run_lookup import RunLookup

Point = tuple[str, float, int, int, bool]
"""A metric: name, value, step, milliseconds since the epoch, whether it describes the model."""


class MlflowSink:
    """Delivers the entries of one sweep. Its methods are called from one thread.

    Every request is tried again by itself: a server that refuses every third would never take the
    many of a model in a row.

    Attributes:
        client: client of the store.
        lookup: ids of the trials' runs and models.
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
        self.lookup = RunLookup(client, run_id, runs)
        self._models = ModelDelivery(self.lookup, outbox)
        self._maybe_duplicated: set[int | str] = set()

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
                model_id = self._models.deliver(entry, again, attempt)
                run_id = self.lookup.run_of(entry.key)
                content = entry.content
                metrics = as_metrics(content["metrics"], content["step"], content["at"], model_id)
                self._log(run_id, metrics, again, attempt)
            case "end":
                run_id = attempt(lambda _: self.lookup.run_of(entry.key))
                attempt(lambda _: close_run(self.client, run_id, **entry.content))
            case "text":
                run_id = attempt(lambda _: self.lookup.run_of(entry.key))
                attempt(lambda _: self.client.log_text(run_id, **entry.content))
            case _:
                raise ValueError(f"{entry.kind!r} is no kind of entry")

    def log(
        self, key: int | str | None, entries: Sequence[Entry], again: bool, attempt: Attempt
    ) -> None:
        """Deliver entries of the kind `log` of one run, together; see `deliver`."""
        run_id = attempt(lambda _: self.lookup.run_of(key))
        points: list[Point] = [p for each in entries for p in each.content.get("metrics", ())]
        model_id = None
        if key is not None and any(of_model for *_, of_model in points):
            model_id = attempt(lambda _: self.lookup.model_of(key))
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
        for key in list(self._maybe_duplicated):
            for run in self.lookup.search(key):
                if run.info.run_id != self.lookup.runs[key]:
                    self.client.delete_run(run.info.run_id)
            self._maybe_duplicated.discard(key)
        self._models.delete_duplicates()

    def _start(self, entry: Entry, again: bool) -> None:
        assert entry.key is not None, "the sweep's own run is there before its outbox"
        found = self.lookup.search(entry.key) if again else []
        if found:
            self.lookup.runs[entry.key] = found[0].info.run_id
            return
        content = entry.content
        run = self.client.create_run(
            self.lookup.experiment_id, content["at"], content["tags"], content["name"]
        )
        self.lookup.runs[entry.key] = run.info.run_id
        if again:
            self._maybe_duplicated.add(entry.key)

    def _link_data(self, key: int | str | None) -> None:
        if self._inputs:
            self.client.log_inputs(self.lookup.run_of(key), self._inputs)

    def _reopen(self, entry: Entry) -> None:
        run_id = self.lookup.run_of(entry.key)
        log_batch(self.client, run_id, tags=entry.content["tags"])
        self.client.update_run(run_id, status="RUNNING")
        there = self.client.get_run(run_id).data.tags
        for tag in ("sweep.outcome", "closed.by", "closed.reason"):
            if tag in there:
                self.client.delete_tag(run_id, tag)

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

    def _missing(self, run_id: str, metrics: list[Metric], attempt: Attempt) -> list[Metric]:
        """Return the metrics that the store does not have."""
        there = set()
        for name in dict.fromkeys(metric.key for metric in metrics):
            history: list[Metric] = attempt(partial(self._history, run_id, name))
            there |= {(name, point.step, point.timestamp) for point in history}
        return [each for each in metrics if (each.key, each.step, each.timestamp) not in there]

    def _history(self, run_id: str, name: str, again: bool) -> list[Metric]:
        history: list[Metric] = self.client.get_metric_history(run_id, name)
        return history

    @cached_property
    def _inputs(self) -> list[DatasetInput]:
        """The data, an input of the sweep's run and of every trial's."""
        inputs = self.client.get_run(self.lookup.sweep_run_id).inputs
        return list(inputs.dataset_inputs) if inputs else []
