"""Which trials keep their logged model when a sweep has ended, and the removal of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from sentiment.config import Objective
from sentiment.tracking.model_uri import MODEL_TAG, REMOVED
from sentiment.wording import counted
from sweeps.objectives import Limit
from sweeps.tracking.queries import best_trials, trials_of, within_limits


@dataclass(frozen=True)
class Removed:
    """What a removal did.

    Attributes:
        models: how many are gone.
        size: bytes of their files.
        kept: trials of the search that still have theirs.
    """

    models: int
    size: int
    kept: int

    def __str__(self) -> str:
        return (
            f"removed the models of {counted(self.models, 'trial')}, {self.size / 1e6:,.0f} MB; "
            f"{counted(self.kept, 'is', 'are')} kept"
        )


def keep_best_models(
    client: MlflowClient,
    sweep: Run,
    keep: int,
    objective: Objective,
    limits: Sequence[Limit] = (),
) -> Removed:
    """Remove the logged models of a sweep's trials but for those of the best.

    The winner's, those of an ensemble's members and whatever is registered stay always, and so do
    those of baselines and confirmations, which have no rank. What was removed before is passed
    over, so that a cut-off removal can be made again.

    Args:
        client: client of the store.
        sweep: the sweep's run; it has ended, all of it is written.
        keep: how many of the best keep theirs; with 0 the winner alone.
        objective: what the best go by.
        limits: those that keep them come before the others.
    """
    everything = trials_of(client, sweep)
    trials = [trial for trial in everything if trial.role == "trial"]
    members = {member.key for run in everything for member in run.members}
    ranked = best_trials(trials, objective)
    first = within_limits(ranked, limits)
    ranked = first + [trial for trial in ranked if trial not in first]
    best = {trial.run_id for trial in ranked[: max(keep, 1)]}
    best |= {trial.run_id for trial in trials if trial.key in members}
    models = size = kept = 0
    for trial in trials:
        if trial.model_id is None:
            continue
        if trial.run_id in best or is_registered(client, trial.run_id):
            kept += 1
            continue
        # The tag comes first: a run never points to a model that is gone.
        client.set_tag(trial.run_id, MODEL_TAG, REMOVED)
        size += remove_model(client, trial.model_id)
        models += 1
    return Removed(models, size, kept)


def is_registered(client: MlflowClient, run_id: str) -> bool:
    """Tell whether a version of any registered model comes from the run."""
    return bool(client.search_model_versions(f"run_id = '{run_id}'", max_results=1))


def remove_model(client: MlflowClient, model_id: str) -> int:
    """Remove a logged model and its files; return their size in bytes, 0 if it is gone already."""
    try:
        location = client.get_logged_model(model_id).artifact_location
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return 0
    size = remove_artifacts(client, location)
    folder = _local(location)
    if folder is not None and folder.parent.name == model_id and not any(folder.parent.iterdir()):
        folder.parent.rmdir()
    client.delete_logged_model(model_id)
    return size


def artifact_size(client: MlflowClient, location: str) -> int:
    """Return the bytes of the artifacts at a location."""
    return _size(get_artifact_repository(location, tracking_uri=client.tracking_uri), location)


def remove_artifacts(client: MlflowClient, location: str) -> int:
    """Remove the artifacts at a location and return their size in bytes, 0 if they are gone."""
    size = artifact_size(client, location)
    folder = _local(location)
    if folder is None or folder.exists():
        get_artifact_repository(location, tracking_uri=client.tracking_uri).delete_artifacts()
    return size


def _size(files: ArtifactRepository, location: str) -> int:
    folder = _local(location)
    if folder is not None:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    size, folders = 0, [""]
    while folders:
        for entry in files.list_artifacts(folders.pop()):
            if entry.is_dir:
                folders.append(entry.path)
            else:
                size += entry.file_size or 0
    return size


def _local(location: str) -> Path | None:
    """Return where artifacts lie on this machine; None if they lie elsewhere."""
    if location.startswith("file:"):
        location = url2pathname(urlsplit(location).path)
    return Path(location) if Path(location).is_absolute() else None
