"""Versions of registered models that no alias names: which they are, and their removal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from sentiment.errors import InputError
from sentiment.tracking.model_uri import MODEL_TAG, REMOVED, model_of_version
from sweeps.registry.champion import champion_state, rollback_targets
from sweeps.registry.versions import VERSIONS_TAG
from sweeps.tracking.disk_usage import Item, Record, is_deleted, is_running, pages
from sweeps.tracking.retention import artifact_size, remove_model

_OVER = ("finished", "deleted", "unknown")
_PAGE = 1000
_LISTED = 8


def unneeded_versions(
    client: MlflowClient, record: Record, former_champions: bool
) -> Iterator[Item]:
    """Yield each registered model of this project, with those of its versions that may go.

    A version stays if it bears an alias, if its sweep has not ended, and, unless former champions
    are asked for, if a rollback could go back to it. With a version goes its logged model, unless
    another version is of the same run or a single training made it.

    Args:
        client: client of the store.
        record: what it holds of sweeps.
        former_champions: count former champions among those that may go.
    """
    for model in pages(
        lambda token: client.search_registered_models(max_results=_PAGE, page_token=token)
    ):
        ours = [one for one in record.versions if one.name == model.name and _is_ours(one)]
        if not ours:
            continue
        try:
            going = _unneeded(client, model, record, former_champions)
        except InputError as error:
            what, stays = f"{len(ours)} versions", str(error)
            yield Item("versions", model.name, "", what, 0, None, stays)
            continue
        kept = len(ours) - len(going)
        versions = f"{kept} version{'s' * (kept > 1)}"
        if not going:
            what = f"{versions}, needed"
        else:
            what = f"{_numbers(going)} without an alias"
            what += f"; {versions} stay{'s' * (kept == 1)}" if kept else ""
        yield Item(
            "versions",
            model.name,
            "",
            what,
            _size(client, record, going),
            _remover(client, model.name, going, former_champions) if going else None,
            "each of its versions bears an alias, was champion (--former-champions), or is of a "
            "sweep that has not ended; nothing of it goes",
        )


def _is_ours(version: ModelVersion) -> bool:
    """Return whether a sweep or a promotion has registered a version."""
    ours = str(version.source or "").startswith("models:/m-")
    return ours and "dataset_fingerprint" in version.tags


def _unneeded(
    client: MlflowClient, model: RegisteredModel, record: Record, former_champions: bool
) -> list[ModelVersion]:
    """Return the versions of a model that may go, the oldest first.

    Raises:
        InputError: its history of champions can't be read.
    """
    needed = {int(number) for number in model.aliases.values()}
    if not former_champions:
        needed |= set(rollback_targets(champion_state(client, model.name)))
    return sorted(
        (
            version
            for version in record.versions
            if version.name == model.name
            and _is_ours(version)
            and int(version.version) not in needed
            and _has_ended(version, record)
        ),
        key=lambda version: int(version.version),
    )


def _has_ended(version: ModelVersion, record: Record) -> bool:
    run = record.runs.get(str(version.run_id))
    if run is not None and is_running(run):
        return False
    sweep = version.tags.get("sweep.name")
    return sweep is None or record.state_of(sweep) in _OVER


def _model_to_remove(
    version: ModelVersion, record: Record, going: Sequence[ModelVersion]
) -> str | None:
    """Return the logged model that goes with a version; None if something else needs it."""
    run = record.runs.get(str(version.run_id))
    if run is None or "sweep.name" not in run.data.tags:
        return None  # a single training's model is no sweep's to remove
    removed = {(one.name, one.version) for one in going}
    others = [one for one in record.versions if (one.name, one.version) not in removed]
    if any(one.source == version.source or one.run_id == version.run_id for one in others):
        return None
    return model_of_version(version)


def _size(client: MlflowClient, record: Record, going: Sequence[ModelVersion]) -> int:
    """Return the bytes of the logged models that go with some versions."""
    ids = {_model_to_remove(version, record, going) for version in going}
    return sum(
        artifact_size(client, model.artifact_location)
        for model in record.models
        if model.model_id in ids
    )


def _remover(
    client: MlflowClient, name: str, chosen: Sequence[ModelVersion], former_champions: bool
) -> Callable[[], int]:
    def remove() -> int:
        # Read again: an alias may have moved, or a sweep may have been resumed, since.
        record = Record.read(client)
        model = client.get_registered_model(name)
        numbers = {version.version for version in chosen}
        going = [
            version
            for version in _unneeded(client, model, record, former_champions)
            if version.version in numbers
        ]
        size = 0
        for version in going:
            client.delete_model_version(name, str(version.version))
            model_id = _model_to_remove(version, record, going)
            if model_id is None:
                _unlink(client, version)
                continue
            run = record.runs[str(version.run_id)]
            if not is_deleted(run):
                # The tag comes first: a run never points to a model that is gone.
                client.set_tag(run.info.run_id, MODEL_TAG, REMOVED)
            size += remove_model(client, model_id)
        return size

    return remove


def _unlink(client: MlflowClient, version: ModelVersion) -> None:
    """Take a version that is gone off the page of its logged model."""
    model_id = model_of_version(version)
    known = json.loads(client.get_logged_model(model_id).tags.get(VERSIONS_TAG, "[]"))
    link = {"name": version.name, "version": str(version.version)}
    if link in known:
        known.remove(link)
        client.set_logged_model_tags(model_id, {VERSIONS_TAG: json.dumps(known)})


def _numbers(versions: Sequence[ModelVersion]) -> str:
    listed = ", ".join(str(version.version) for version in versions[:_LISTED])
    more = len(versions) - _LISTED
    listed += f" and {more} more" if more > 0 else ""
    return f"version{'s' * (len(versions) > 1)} {listed}"
