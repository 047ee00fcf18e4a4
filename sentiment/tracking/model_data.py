"""Where the data is that a model was trained on, as far as it is recorded.

A bundle travels to other machines and other people, so it names files without their folders; the
store that the model was trained in knows where they were.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from pydantic import ValidationError

from sentiment.data.datasets import DATASETS, DataConfig
from sentiment.data.identity import DATA
from sentiment.data.sources import find_sources
from sentiment.errors import InputError
from sentiment.tracking.dataset_input import UNLABELLED_FILES
from sentiment.tracking.model_uri import DATA_TAG, SavedModel

_SETTINGS_FILE = "settings.json"
_PARENT_TAG = "mlflow.parentRunId"


def own_data(model: SavedModel, metadata: Mapping[str, Any]) -> DataConfig:
    """Return where the data is that a model was trained on.

    Taken from the first of these that has it: the tag of the registered version; the bundle, with
    the folder that the run recorded; the settings of the sweep; the run's parameters and its input.

    Args:
        model: the model as it was found.
        metadata: of its bundle.

    Raises:
        InputError: none has it, or the record is damaged.
    """
    if model.version is not None and DATA_TAG in model.version.tags:
        return _checked(model.version.tags[DATA_TAG], "the version's tag `data`")
    run = _run_of(model)
    source = _recorded_source(run)
    place = source.get("uri")
    if isinstance(metadata.get(DATA), Mapping):
        return _located(_checked(json.dumps(metadata[DATA]), "the model's metadata"), source)
    if model.client is not None and run is not None and _PARENT_TAG in run.data.tags:
        settings = _sweep_settings(model.client, run.data.tags[_PARENT_TAG])
        if settings is not None:
            return _located(settings, source)
    name = metadata.get("dataset") or (run.data.params.get("dataset") if run else None)
    if name in DATASETS:
        return DataConfig(dataset=str(name))
    if place is not None:
        return DataConfig.model_validate({"data": place})
    what = f"a file called {name}" if name else "data that is not recorded"
    raise InputError(
        f"the model was trained on {what}, and where that is isn't recorded: give it by --data, "
        "with the same options, or name other data by --dataset or --data"
    )


def _run_of(model: SavedModel) -> Run | None:
    if model.client is None or model.run_id is None:
        return None
    try:
        return model.client.get_run(model.run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None  # deleted for good, while its registered model stays
        raise InputError(
            f"the run {model.run_id} can't be read: {str(error.message).splitlines()[0]}"
        ) from error


def _recorded_source(run: Run | None) -> dict[str, Any]:
    """Return where the data was that a run saw, as `dataset_input` writes it; empty if unknown."""
    for each in run.inputs.dataset_inputs if run is not None and run.inputs else []:
        if each.dataset.source_type in ("local", "http"):
            try:
                source = json.loads(each.dataset.source)
            except ValueError:
                return {}
            return source if isinstance(source, dict) else {}
    return {}


def _located(config: DataConfig, source: Mapping[str, Any]) -> DataConfig:
    """Restore the folders that a bundle leaves out, where the run's input has them."""
    changes: dict[str, object] = {}
    files = source.get(UNLABELLED_FILES)
    if config.unlabelled is not None and isinstance(files, list):
        names = [Path(name).name for name in config.unlabelled]
        if names == [Path(name).name for name in files]:
            changes["unlabelled"] = tuple(files)
    place = source.get("uri")
    if place is not None:
        folder = Path(place).parent
        if config.data_dir is not None and Path(config.data_dir).name == Path(place).name:
            changes["data_dir"] = place
        elif config.data is not None and Path(place).name in map(_file_name, config.data):
            # Files that were named without a folder lay in that of the one that was recorded.
            changes["data"] = tuple(str(folder / Path(name).name) for name in config.data)
    return config.model_copy(update=changes)


def _file_name(name: str) -> str:
    """Return the name of the file that a value of `--data` means, without folder and split."""
    return find_sources([name])[0].path.name


def _sweep_settings(client: MlflowClient, run_id: str) -> DataConfig | None:
    """Return the data of a sweep's settings; None where they are not kept."""
    try:
        with tempfile.TemporaryDirectory() as scratch:
            text = Path(client.download_artifacts(run_id, _SETTINGS_FILE, scratch)).read_text()
    except (MlflowException, OSError):
        return None
    try:
        data = json.loads(text)["data"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{_SETTINGS_FILE} of the run {run_id} is damaged") from None
    return _checked(json.dumps(data), f"{_SETTINGS_FILE} of the run {run_id}")


def _checked(text: str, where: str) -> DataConfig:
    try:
        return DataConfig.model_validate_json(text)
    except ValidationError as error:
        reason = error.errors()[0]
        raise InputError(
            f"{where} does not say where the data is ({reason['msg']}): name it by --dataset or "
            "--data"
        ) from None
