"""Delivery of a trial's logged model: created, uploaded and linked to its run, once each."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from mlflow.entities import LoggedModel, LoggedModelOutput

from sentiment.tracking.logged_model import save_mlflow_model
from sweeps.tracking.attempt import Attempt
from sweeps.tracking.outbox import Entry, Outbox
from sweeps.tracking.run_lookup import RunLookup

_ENTRY_TAG = "sweep.entry"


class ModelDelivery:
    """Delivers the models that an outbox keeps. Its methods are called from one thread."""

    def __init__(self, lookup: RunLookup, outbox: Outbox) -> None:
        """Deliver nothing yet.

        Args:
            lookup: has the trials' runs, and takes their models.
            outbox: has the models of its entries.
        """
        self._lookup = lookup
        self._client = lookup.client
        self._outbox = outbox
        self._maybe_duplicated: dict[int | str, str] = {}

    def deliver(self, entry: Entry, again: bool, attempt: Attempt) -> str:
        """Deliver the model of an entry, without its metrics, and return the model's id.

        Args:
            entry: of the kind `model`.
            again: whether it may have been delivered before.
            attempt: makes the requests.
        """
        key, content = entry.key, entry.content
        assert key is not None, "the sweep itself has no model"
        run_id = attempt(lambda _: self._lookup.run_of(key))
        model_id = attempt(partial(self._create, entry, key, run_id), again)
        self._lookup.models[key] = model_id
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "model")
            bundle = self._outbox.model(content["folder"])
            save_mlflow_model(bundle, folder, model_id=model_id, run_id=run_id)
            attempt(lambda again: self._upload(model_id, folder, again, attempt))
        attempt(lambda _: self._client.finalize_logged_model(model_id, "READY"))
        attempt(partial(self._link, run_id, LoggedModelOutput(model_id, content["step"])), again)
        return model_id

    def delete_duplicates(self) -> None:
        """Delete the models of requests that took effect after they were sent again."""
        for key, mark in list(self._maybe_duplicated.items()):
            for model in self._marked(self._lookup.run_of(key), mark):
                if model.model_id != self._lookup.models[key]:
                    self._client.delete_logged_model(model.model_id)
            del self._maybe_duplicated[key]

    def _create(self, entry: Entry, key: int | str, run_id: str, again: bool) -> str:
        mark = f"{entry.number}-{entry.content['at']}"
        begun = self._marked(run_id, mark) if again else []
        if again and not begun:
            self._maybe_duplicated[key] = mark
        model = (
            begun[0]
            if begun
            else self._client.create_logged_model(
                self._lookup.experiment_id,
                entry.content["name"],
                source_run_id=run_id,
                tags={_ENTRY_TAG: mark},
            )
        )
        model_id: str = model.model_id
        return model_id

    def _upload(self, model_id: str, folder: Path, again: bool, attempt: Attempt) -> None:
        """Upload a model's files: at once, or one by one after that has failed."""
        if not again:
            self._client.log_model_artifacts(model_id, str(folder))
            return
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                place = path.parent.relative_to(folder).as_posix()
                attempt(partial(self._upload_file, model_id, path, None if place == "." else place))

    def _upload_file(self, model_id: str, path: Path, place: str | None, again: bool) -> None:
        self._client.log_model_artifact(model_id, str(path), place)

    def _link(self, run_id: str, output: LoggedModelOutput, again: bool) -> None:
        outputs = self._client.get_run(run_id).outputs if again else None
        there = outputs.model_outputs if outputs else []
        if output.model_id not in [each.model_id for each in there]:
            self._client.log_outputs(run_id, [output])

    def _marked(self, run_id: str, mark: str) -> list[LoggedModel]:
        """Return the models of a run that were created for an entry."""
        found = self._client.search_logged_models(
            [self._lookup.experiment_id], f"source_run_id = '{run_id}'"
        )
        return [model for model in found if model.tags.get(_ENTRY_TAG) == mark]
