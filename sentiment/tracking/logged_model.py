"""The logged model: a bundle with its signature, code and requirements, as MLflow keeps it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath

import mlflow
import mlflow.pyfunc
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from sentiment.data.tokenizer import LANGUAGE_PACKAGES
from sentiment.inference.ensemble import first_bundle
from sentiment.inference.saved_folder import BUNDLE_ARTIFACT
from sentiment.installation import PACKAGE
from sentiment.tracking.batches import as_metrics, log_batch

SERVING_PACKAGES = (
    "mlflow",
    "filelock",
    "numpy",
    "pandas",
    "platformdirs",
    "pydantic",
    "pyyaml",
    "safetensors",
    "scipy",
    "spacy",
    "torch",
)
"""What a logged model needs beside its own code; pinned at the installed versions."""
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("string", "text")]),
    outputs=Schema([ColSpec("string", "label"), ColSpec("float", "probability")]),
    params=ParamSchema([ParamSpec("explain", DataType.boolean, False)]),
)
"""Of the model: with the parameter `explain` a column `explanation`, a string, comes on top."""


def log_bundle(
    client: MlflowClient,
    run_id: str,
    bundle: Path,
    *,
    name: str,
    metrics: Mapping[str, float],
    step: int,
    at: int | None = None,
) -> str:
    """Save a bundle as a logged model of a run and return the model's id (`m-…`).

    The model takes raw text and brings its own code, so it runs where this project is not
    installed. Nothing is loaded or inferred here: the cost is that of copying the files.

    Args:
        client: client of the store.
        run_id: the run that trained it.
        bundle: the saved bundle's folder.
        name: the model's name in the UI.
        metrics: what the checkpoint reached; linked to the model.
        step: training examples that the checkpoint has seen.
        at: milliseconds since the epoch at which the metrics were measured; now, if None.
    """
    experiment_id = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment_id, name, source_run_id=run_id)
    model_id: str = model.model_id
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "model")
            save_mlflow_model(bundle, folder, model_id=model_id, run_id=run_id)
            client.log_model_artifacts(model_id, str(folder))
    except BaseException:
        client.finalize_logged_model(model_id, "FAILED")
        raise
    client.finalize_logged_model(model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model_id, step)])
    log_batch(client, run_id, metrics=as_metrics(metrics, step, at, model_id))
    return model_id


def save_mlflow_model(
    bundle: Path, folder: Path, *, model_id: str | None = None, run_id: str | None = None
) -> None:
    """Write a bundle as a folder that MLflow loads and serves: signature, example, code, pins."""
    with tempfile.TemporaryDirectory() as scratch:
        # MLflow keeps the name of the folder that it copies.
        named = Path(scratch, PurePosixPath(BUNDLE_ARTIFACT).name)
        shutil.copytree(bundle, named)
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(PACKAGE / "inference" / "pyfunc.py"),
            artifacts={"bundle": str(named)},
            code_paths=[str(PACKAGE)],
            signature=SIGNATURE,
            input_example=pd.DataFrame({"text": ["This film is great"]}),
            pip_requirements=serving_requirements(_language_packages(bundle)),
            mlflow_model=Model(model_id=model_id, model_uuid=model_id, run_id=run_id),
        )


def serving_requirements(further: Sequence[str] = ()) -> list[str]:
    """Return the pins of what a logged model needs; no local label such as `+cpu` is in them.

    Args:
        further: packages that not every model needs.
    """
    return list(_pins((*SERVING_PACKAGES, *further)))


@cache
def _pins(packages: tuple[str, ...]) -> tuple[str, ...]:
    # Reading the metadata of a dozen packages is a seventh of the cost of logging a model.
    return tuple(f"{name}=={metadata.version(name).partition('+')[0]}" for name in packages)


def _language_packages(bundle: Path) -> tuple[str, ...]:
    """Return the packages that the tokenizer of a bundle's language needs."""
    settings = json.loads((first_bundle(bundle) / "config.json").read_bytes())["settings"]["text"]
    uses_spacy = settings["tokenizer"] == "spacy"
    return LANGUAGE_PACKAGES.get(settings["language"], ()) if uses_spacy else ()
