"""Versions of the registered model, their aliases, and the history of the champion.

`challenger` is the best of the newest sweep, `champion` the model that answers, `previous` the
champion before it. Every move of `champion` leaves a tag on the registered model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import _validate_model_name

from sentiment.datasets import DataConfig, Dataset
from sentiment.errors import InputError
from sentiment.model_store import (
    CHAMPION,
    model_of_run,
    model_of_version,
    version_of_alias,
)

CHALLENGER = "challenger"
PREVIOUS = "previous"

DATA_TAG = "data"
"""A version's tag: its `DataConfig` as JSON."""

_MOVE = "champion.move."
_VERSIONS_TAG = "mlflow.modelVersions"


@dataclass(frozen=True)
class Move:
    """One move of the alias `champion`.

    Attributes:
        kind: `promote` or `rollback`.
        time: when, UTC, ISO 8601.
        before: the version that was champion; None for the first.
        after: the version that is it since.
        figures: what decided: metrics by name.
    """

    kind: Literal["promote", "rollback"]
    time: str
    before: int | None
    after: int
    figures: dict[str, float]


@dataclass(frozen=True)
class Candidate:
    """A model that may become champion.

    Attributes:
        model_id: its logged model.
        run_id: the run that trained it.
        version: its number in the registry; None for a run's model that isn't registered.
        tags: what is known of it: `dataset`, `dataset_fingerprint`, `test/…`.
    """

    model_id: str
    run_id: str
    version: int | None
    tags: dict[str, str]

    @property
    def title(self) -> str:
        """What to call it."""
        return f"version {self.version}" if self.version else f"run {self.run_id}"

    @property
    def recorded(self) -> dict[str, float]:
        """The test metrics that it is said to have."""
        return {k: float(value) for k, value in self.tags.items() if k.startswith("test/")}


def check_model_name(name: str) -> None:
    """Check the name of a registered model before any work is done.

    Raises:
        InputError: MLflow takes no such name.
    """
    try:
        _validate_model_name(name)
    except MlflowException as error:
        raise InputError(f"--model-name {name!r}: {str(error.message).splitlines()[0]}") from None
    _quoted(name)


def register(
    client: MlflowClient,
    name: str,
    *,
    model_id: str,
    run_id: str,
    tags: Mapping[str, str],
    description: str,
    alias: str | None = CHALLENGER,
) -> ModelVersion:
    """Make a logged model a new version of a registered model, made when it isn't there.

    Args:
        client: client of the store.
        name: the registered model.
        model_id: the logged model.
        run_id: the run that trained it.
        tags: what is known of it: the sweep, the data, its test metrics.
        description: the same for a reader.
        alias: moved to the new version, unless None.
    """
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    with _global_store(client.tracking_uri):
        version = client.create_model_version(
            name,
            f"models:/{model_id}",
            run_id,
            tags=dict(tags),
            description=description,
            model_id=model_id,
        )
    # MLflow's pages find a logged model's versions by this tag.
    known = json.loads(client.get_logged_model(model_id).tags.get(_VERSIONS_TAG, "[]"))
    known.append({"name": name, "version": str(version.version)})
    client.set_logged_model_tags(model_id, {_VERSIONS_TAG: json.dumps(known)})
    if alias is not None:
        client.set_registered_model_alias(name, alias, version.version)
    return version


def register_winner(
    client: MlflowClient,
    name: str,
    *,
    model_id: str,
    run_id: str,
    sweep: str,
    data: DataConfig,
    dataset: Dataset,
    test: Mapping[str, float],
    description: str = "",
) -> ModelVersion:
    """Register a sweep's best trial as the challenger.

    Args:
        client: client of the store.
        name: the registered model.
        model_id: the trial's logged model.
        run_id: the trial's run.
        sweep: the sweep's name.
        data: where the data set came from; a promotion loads it again from there.
        dataset: the data set.
        test: its metrics on the test split, as `test/accuracy`.
        description: for a reader, in Markdown.
    """
    return register(
        client,
        name,
        model_id=model_id,
        run_id=run_id,
        tags={
            "sweep.name": sweep,
            "dataset": dataset.name,
            "dataset_fingerprint": dataset.fingerprint,
            DATA_TAG: data.model_dump_json(exclude_defaults=True),
            **{metric: repr(float(value)) for metric, value in test.items()},
        },
        description=description,
    )


def describe_model(client: MlflowClient, name: str, description: str) -> None:
    """Describe a registered model, unless somebody has done so already."""
    if not client.get_registered_model(name).description:
        client.update_registered_model(name, description)


def find_candidate(
    client: MlflowClient,
    name: str,
    *,
    sweep: str | None = None,
    run_id: str | None = None,
    version: int | None = None,
) -> Candidate:
    """Return a sweep's winner, a run's model, a version by its number, or else the challenger.

    Raises:
        InputError: there is none.
    """
    versions = all_versions(client, name)
    if run_id is not None:
        found = [one for one in versions if one.run_id == run_id]
        return _of_version(found[0]) if found else _of_run(client, run_id)
    if not versions:
        raise InputError(f"no model {name!r} is registered yet: python -m sweeps.launch")
    if version is not None:
        found = [one for one in versions if int(one.version) == version]
        what = f"version {version}"
    elif sweep is not None:
        found = [one for one in versions if one.tags.get("sweep.name") == sweep]
        what = f"version of the sweep {sweep}"
    else:
        alias = version_of_alias(client, name, CHALLENGER)
        found = [alias] if alias else []
        what = CHALLENGER
    if not found:
        known = ", ".join(str(one.version) for one in versions[:10])
        raise InputError(f"the model {name!r} has no {what}; its versions are {known}")
    return _of_version(found[0])


def all_versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Return the versions of a registered model, the newest first; none if it isn't there."""
    versions: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(f"name = '{_quoted(name)}'", page_token=token)
        versions.extend(page)
        token = page.token
        if not token:
            return sorted(versions, key=lambda one: int(one.version), reverse=True)


def moves(client: MlflowClient, name: str) -> list[Move]:
    """Return the moves of the champion, the oldest first."""
    tags = client.get_registered_model(name).tags
    return [Move(**json.loads(tags[key])) for key in sorted(tags) if key.startswith(_MOVE)]


def promote(
    client: MlflowClient, name: str, version: int, before: int | None, figures: Mapping[str, float]
) -> Move:
    """Make a version the champion, and the champion before it the previous.

    Args:
        client: client of the store.
        name: the registered model.
        version: the version.
        before: the champion that it was compared with; None if there was none.
        figures: what decided; kept with the move and on the version.

    Raises:
        InputError: another version has become champion meanwhile.
    """
    figures = dict(figures)
    for metric, value in figures.items():
        client.set_model_version_tag(name, str(version), f"promotion.{metric}", repr(value))
    return _move(client, name, "promote", before, version, before, figures)


def rollback(client: MlflowClient, name: str) -> Move:
    """Undo the last move that isn't undone yet.

    Raises:
        InputError: there is no champion before the present one.
    """
    stack = _present_champions(client, name)
    previous = stack[-3] if len(stack) > 2 else None
    return _move(client, name, "rollback", stack[-1], stack[-2], previous, {})


def rollback_step(client: MlflowClient, name: str) -> tuple[int, int]:
    """Return the version that a rollback would take the alias from, and the one it would go to.

    Raises:
        InputError: there is no champion before the present one.
    """
    stack = _present_champions(client, name)
    return stack[-1], stack[-2]


def champions(history: Sequence[Move]) -> list[int]:
    """Return the champions that a rollback can go back to, the present one last."""
    stack: list[int] = []
    for move in history:
        if move.kind == "rollback":
            while stack[-1] != move.after:
                stack.pop()
        else:
            # A champion that was set by hand is no move of ours, but one can go back to it.
            if move.before is not None and (not stack or stack[-1] != move.before):
                stack.append(move.before)
            stack.append(move.after)
    return stack


@contextmanager
def _global_store(uri: str) -> Iterator[None]:
    """Make a store MLflow's global one for a while: it looks `models:/m-…` up there alone."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type] # None: the default again


def _present_champions(client: MlflowClient, name: str) -> list[int]:
    """Return the champions, the present one last and at least one before it."""
    present = version_of_alias(client, name, CHAMPION)
    stack = champions(moves(client, name)) if present is not None else []
    if present is not None and stack and stack[-1] != int(present.version):
        stack.append(int(present.version))  # it was set by hand
    if len(stack) < 2:
        raise InputError(f"the model {name!r} has no champion before the present one")
    return stack


def _move(
    client: MlflowClient,
    name: str,
    kind: Literal["promote", "rollback"],
    before: int | None,
    after: int,
    previous: int | None,
    figures: dict[str, float],
) -> Move:
    present = version_of_alias(client, name, CHAMPION)
    if (int(present.version) if present else None) != before:
        raise InputError(
            f"the champion of {name!r} has moved meanwhile, to version "
            f"{present.version if present else 'none'}: start again"
        )
    now = datetime.now(UTC)
    move = Move(kind, now.isoformat(timespec="seconds"), before, after, figures)
    # The tag comes first, so that no move goes unseen if this one is cut off.
    client.set_registered_model_tag(name, f"{_MOVE}{now:%Y%m%d%H%M%S%f}", json.dumps(asdict(move)))
    client.set_registered_model_alias(name, CHAMPION, str(after))
    if previous is not None:
        client.set_registered_model_alias(name, PREVIOUS, str(previous))
    elif version_of_alias(client, name, PREVIOUS) is not None:
        client.delete_registered_model_alias(name, PREVIOUS)
    return move


def _of_version(version: ModelVersion) -> Candidate:
    if "dataset_fingerprint" not in version.tags:
        raise InputError(
            f"version {version.version} of {version.name!r} was not registered by a sweep or a "
            "promotion: name the run that trained it by --run"
        )
    model_id = model_of_version(version)
    return Candidate(model_id, str(version.run_id), int(version.version), dict(version.tags))


def _of_run(client: MlflowClient, run_id: str) -> Candidate:
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise InputError(f"--run {run_id}: there is no such run") from error
    tags = {key: run.data.params.get(key, "") for key in ("dataset", "dataset_fingerprint")}
    tags |= {k: repr(value) for k, value in run.data.metrics.items() if k.startswith("test/")}
    if "sweep.name" in run.data.tags:
        tags["sweep.name"] = run.data.tags["sweep.name"]
    return Candidate(model_of_run(run), run_id, None, tags)


def _quoted(name: str) -> str:
    if "'" in name or "\\" in name:
        raise InputError(f"--model-name {name!r}: a name has no quotes or backslashes")
    return name
