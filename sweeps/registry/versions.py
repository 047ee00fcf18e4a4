"""Versions of the registered model: registered, listed, and found as candidates for promotion.

The alias `challenger` names the best on validation of the sweeps on one data set
(`sweeps.registry.challenger`), `champion` the version that is served (`sweeps.registry.champion`).
"""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import _validate_model_name

from sentiment.errors import InputError
from sentiment.tracking.model_uri import (
    copy_model,
    model_of_run,
    model_of_version,
    only_others,
    registered_names,
    version_of_alias,
)
from sweeps.registry.checksums import file_checksums, record_checksums

CHALLENGER = "challenger"

VERSIONS_TAG = "mlflow.modelVersions"
"""A logged model's tag, by which MLflow's pages find its versions: JSON."""

_KEPT_METRICS = ("best/valid/", "test/")
"""Prefixes of the metrics of a run that become tags of its version."""


@dataclass(frozen=True)
class Candidate:
    """A model that may become champion.

    Attributes:
        model_id: its logged model.
        run_id: the run that trained it.
        version: its number in the registry; None for a run's model that isn't registered.
        tags: its data and metrics: `dataset`, `dataset_fingerprint`, `test/…`.
    """

    model_id: str
    run_id: str
    version: int | None
    tags: dict[str, str]

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"version {self.version}" if self.version else f"run {self.run_id}"

    @property
    def recorded(self) -> dict[str, float]:
        """The recorded test metrics."""
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
) -> ModelVersion:
    """Register a logged model as a new version; create the registered model if needed.

    A model that is a version already keeps its number. The steps after that are repeated, so that
    a registration that was interrupted can be completed.

    Args:
        client: client of the store.
        name: the registered model.
        model_id: the logged model.
        run_id: the run that trained it.
        tags: the version's tags: sweep, data set, test metrics.
        description: the version's description, Markdown.
    """
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"models:/{model_id}"
    there = [one for one in all_versions(client, name) if one.source == source]
    if there:
        version = there[-1]
    else:
        with tempfile.TemporaryDirectory() as scratch:
            files = file_checksums(copy_model(client, model_id, Path(scratch)))
        checksums = record_checksums(client, run_id, model_id, files)
        with _global_store(client.tracking_uri):
            version = client.create_model_version(
                name,
                source,
                run_id,
                tags={**tags, **checksums},
                description=description,
                model_id=model_id,
            )
    known = json.loads(client.get_logged_model(model_id).tags.get(VERSIONS_TAG, "[]"))
    link = {"name": name, "version": str(version.version)}
    if link not in known:
        known.append(link)
    client.set_logged_model_tags(model_id, {VERSIONS_TAG: json.dumps(known)})
    return version


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
    if run_id is not None:
        of_run = version_of_run(client, name, run_id)
        return _of_run(client, run_id) if of_run is None else _of_version(of_run)
    versions = all_versions(client, name)
    if not versions:
        others = registered_names(client)
        if others:
            flag = f"--model-name {shlex.quote(others[0])}"
            raise InputError(f"{only_others(name, others)}: {flag}")
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


def version_of_run(client: MlflowClient, name: str, run_id: str) -> ModelVersion | None:
    """Return the newest version of a registered model that a run trained; None if there is none."""
    return next((one for one in all_versions(client, name) if one.run_id == run_id), None)


@contextmanager
def _global_store(uri: str) -> Iterator[None]:
    """Set MLflow's global tracking URI for a while: `models:/m-…` is resolved only there."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type] # None: the default again


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
    tags |= {k: repr(v) for k, v in run.data.metrics.items() if k.startswith(_KEPT_METRICS)}
    if "sweep.name" in run.data.tags:
        tags["sweep.name"] = run.data.tags["sweep.name"]
    return Candidate(model_of_run(run), run_id, None, tags)


def _quoted(name: str) -> str:
    if "'" in name or "\\" in name:
        raise InputError(f"--model-name {name!r}: a name has no quotes or backslashes")
    return name
