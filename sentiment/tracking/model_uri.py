"""From what a user calls a model to the folder of its bundle."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME

from sentiment.errors import InputError
from sentiment.inference.saved_folder import BUNDLE_ARTIFACT, bundle_within, names_folder
from sentiment.io.cache import cached
from sentiment.tracking.http import several_tries
from sentiment.tracking.registered_name import (
    CHAMPION,
    MODEL_NAME,
    alias_of,
    champion_of,
    is_run_id,
    model_name_flag,
)
from sentiment.tracking.store import read_store, tracking_uri

MODEL_TAG = "sweep.model"
"""A trial's tag: `REMOVED` when its logged model was removed after the sweep."""
REMOVED = "removed"

DATA_TAG = "data"
"""A version's tag: its `DataConfig` as JSON."""

_VERSION_URI = re.compile(r"models:/(?P<name>[^/@]+)/(?P<version>\d+)")
_LOGGED_URI = re.compile(r"models:/(?P<id>m-[^/@]+)")


@dataclass(frozen=True)
class SavedModel:
    """A model that was found under one of its names.

    Attributes:
        folder: its bundle.
        client: of the store that it is in; None for a folder that was named as such.
        run_id: the run that trained it, if it is in a store.
        version: the registered version, if it was named as one.
    """

    folder: Path
    client: MlflowClient | None = None
    run_id: str | None = None
    version: ModelVersion | None = None


def resolve_model(reference: str | None = None, store: str | None = None) -> Path:
    """Return the folder of a saved model's bundle; see `find_model`."""
    return find_model(reference, store).folder


def find_model(reference: str | None = None, store: str | None = None) -> SavedModel:
    """Find a saved model; its bundle is fetched if it lies elsewhere.

    Args:
        reference: a folder (a bundle, or a model as MLflow saves it), `models:/NAME@ALIAS`,
            `models:/NAME/VERSION`, `models:/m-…`, `runs:/ID` or a run's id, an alias of the
            registered model `sentiment`; None is `models:/sentiment@champion`.
        store: address of the tracking store; the default one, if None.

    Raises:
        InputError: there is no such model, or its store can't be opened.
    """
    if reference is not None and names_folder(reference):
        return SavedModel(bundle_within(Path(reference)))
    reference = reference or champion_of(MODEL_NAME)
    uri = tracking_uri(store)
    client = read_store(uri)
    try:
        model_id, version = _named(client, reference)
        folder = fetch_bundle(client, model_id)
        run_id = client.get_logged_model(model_id).source_run_id
        return SavedModel(folder, client, run_id, version)
    except MlflowException as error:
        raise InputError(f"{reference}: {str(error.message).splitlines()[0]}") from error


def fetch_bundle(client: MlflowClient, model_id: str) -> Path:
    """Return the bundle's folder of a logged model: where it lies, or in the cache.

    Raises:
        InputError: its files are gone, or it is none of this project's models.
        mlflow.exceptions.MlflowException: there is no such model.
    """
    location = f"{_location(client, model_id)}/{BUNDLE_ARTIFACT}"
    if Path(location).is_absolute():
        return bundle_within(Path(location))

    def download(folder: Path) -> None:
        _download(client, location, folder)

    # A logged model never changes, so one download serves for good.
    return bundle_within(cached("models", model_id, download))


def copy_model(client: MlflowClient, model_id: str, folder: Path) -> Path:
    """Copy a logged model, as MLflow saved it, from its store into a folder; return the copy.

    What loading it has left in its folder is left out: bytecode, and MLflow's note of the version.

    Raises:
        InputError: its files are gone.
        mlflow.exceptions.MlflowException: there is no such model, or it can't be fetched.
    """
    location = _location(client, model_id)
    if Path(location).is_absolute():
        if not Path(location).is_dir():
            raise InputError(f"{location}: the files of the model {model_id} are gone")
        ignored = shutil.ignore_patterns("__pycache__", REGISTERED_MODEL_META_FILE_NAME)
        return Path(shutil.copytree(location, folder / "model", ignore=ignored))
    return _download(client, location, folder)


def model_of_run(run: Run) -> str:
    """Return the id of a run's logged model: the one with the most examples seen.

    Raises:
        InputError: the run has none.
    """
    if run.data.tags.get(MODEL_TAG) == REMOVED:
        raise InputError(
            f"the run {run.info.run_id} has no model any more: its model was removed when its "
            "sweep ended; name another (--keep-models keeps more)"
        )
    models = run.outputs.model_outputs if run.outputs else []
    if not models:
        raise InputError(f"the run {run.info.run_id} has saved no model: name another")
    model_id: str = max(models, key=lambda model: model.step).model_id
    return model_id


def model_of_version(version: ModelVersion) -> str:
    """Return the id of the logged model that a registered version is.

    Raises:
        InputError: it is none, so that this project has not registered it.
    """
    match = _LOGGED_URI.fullmatch(version.source or "")
    if match is None:
        raise InputError(
            f"version {version.version} of the model {version.name!r} was not registered by this "
            "project: name another"
        )
    return match["id"]


def version_of_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """Return the version of a registered model that bears the alias; None if there is none."""
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        # MLflow reports a missing alias as a bad parameter, and a missing model as this.
        if error.error_code in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
            return None
        raise


def _download(client: MlflowClient, location: str, folder: Path) -> Path:
    with several_tries():
        return Path(
            mlflow.artifacts.download_artifacts(
                location, dst_path=str(folder), tracking_uri=client.tracking_uri
            )
        )


def _location(client: MlflowClient, model_id: str) -> str:
    """Return where a logged model lies: an absolute path, or the address of another store."""
    location: str = client.get_logged_model(model_id).artifact_location
    if location.startswith("file:"):
        return url2pathname(urlsplit(location).path)
    return location


def _named(client: MlflowClient, reference: str) -> tuple[str, ModelVersion | None]:
    """Return the id of the logged model that is meant, and the version if one was named."""
    if match := _LOGGED_URI.fullmatch(reference):
        return match["id"], None
    run_id = reference.removeprefix("runs:/").partition("/")[0]
    if is_run_id(run_id):
        return model_of_run(client.get_run(run_id)), None
    if match := _VERSION_URI.fullmatch(reference):
        version = client.get_model_version(match["name"], match["version"])
        return model_of_version(version), version
    meant = alias_of(reference)
    if meant is None:
        raise InputError(
            f"{reference}: name a model as a folder, models:/NAME@ALIAS, models:/NAME/VERSION or "
            "a run's id"
        )
    found = version_of_alias(client, *meant)
    if found is None:
        raise InputError(_no_alias(client, *meant))
    return model_of_version(found), found


def registered_names(client: MlflowClient) -> list[str]:
    """Return the names of the registered models, sorted; of many the first hundred."""
    return sorted(model.name for model in client.search_registered_models(max_results=100))


def only_others(name: str, names: Sequence[str]) -> str:
    """Return a line that a model is not registered, and which are."""
    return f"no model {name!r} is registered here, but {', '.join(map(repr, names))}"


def _no_alias(client: MlflowClient, name: str, alias: str) -> str:
    names = registered_names(client)
    if names and name not in names:
        flag = (
            model_name_flag(names[0])
            if alias == CHAMPION
            else f" --model {shlex.quote(f'models:/{names[0]}@{alias}')}"
        )
        return f"{only_others(name, names)}:{flag}"
    if alias == CHAMPION:
        return f"the model {name!r} has no champion yet: python -m sweeps.promote"
    return f"no version of the model {name!r} is called {alias!r}: a sweep registers its best"
