"""What a logged model says of a test split, kept so that the split need not be scored again.

The log probabilities, float32, are an artifact of the run that trained the model: a safetensors
file under `predictions/MODEL/`. A tag of the logged model holds the file's sha256, and the file
holds the data's fingerprint and the checksum of the model's files, so predictions of other texts or
of another model are not taken for these.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sentiment.io.cache import sha256_of
from sentiment.tracking.model_uri import copy_model
from sweeps.registry.checksums import checksum, file_checksums
from sweeps.registry.isolated_scoring import IsolatedPredictions

TAG = "predictions."
"""A logged model's tag, with split and fingerprint: the sha256 of the file of its predictions."""
ISOLATED_TAG = "isolated_scoring"
"""A logged model's tag: the checksum of the files with which it ran without this checkout."""
_SHA256 = re.compile("[0-9a-f]{64}")
_LABELS, _SCORES = "label_names", "log_probabilities"


class RecordedPredictionsError(RuntimeError):
    """Predictions were recorded, but can't be used; the message says why."""


def record_predictions(
    client: MlflowClient,
    run_id: str,
    model_id: str,
    predictions: IsolatedPredictions,
    *,
    fingerprint: str,
    model_checksum: str,
    split: str = "test",
) -> None:
    """Keep a model's predictions of a split; they take the place of earlier ones.

    Args:
        client: client of the store.
        run_id: the run that trained the model.
        model_id: the logged model.
        predictions: of the split's texts.
        fingerprint: the data set's.
        model_checksum: of the model's files, from `sweeps.registry.checksums`.
        split: the split.
    """
    described = {
        _LABELS: json.dumps(predictions.label_names),
        "dataset_fingerprint": fingerprint,
        "model_checksum": model_checksum,
        "padded": json.dumps(predictions.padded),
        "split": split,
    }
    scores = np.ascontiguousarray(predictions.log_probabilities, np.float32)
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch, "predictions.safetensors")
        save_file({_SCORES: scores}, whole, metadata=described)
        sha256 = sha256_of(whole)
        # Named by its contents: of two processes that score at once, the tag names one whole file.
        named = whole.rename(Path(scratch, _file(split, fingerprint, sha256)))
        client.log_artifact(run_id, str(named), _folder(model_id))
    client.set_logged_model_tags(model_id, {_tag(split, fingerprint): sha256})


def keep_predictions(
    client: MlflowClient,
    run_id: str,
    model_id: str,
    predictions: IsolatedPredictions,
    fingerprint: str,
) -> None:
    """Record predictions of the test split that a model made just now; see `record_predictions`."""
    with tempfile.TemporaryDirectory() as scratch:
        files = file_checksums(copy_model(client, model_id, Path(scratch)))
    record_predictions(
        client,
        run_id,
        model_id,
        predictions,
        fingerprint=fingerprint,
        model_checksum=checksum(files),
    )


def read_predictions(
    client: MlflowClient,
    run_id: str,
    model_id: str,
    *,
    fingerprint: str,
    model_checksum: str,
    split: str = "test",
) -> IsolatedPredictions | None:
    """Return a model's recorded predictions of a split; None if there are none.

    Args:
        client: client of the store.
        run_id: the run that trained the model.
        model_id: the logged model.
        fingerprint: the data set's.
        model_checksum: of the model's files as they are now.
        split: the split.

    Raises:
        RecordedPredictionsError: the file is gone, or is not the one that was recorded.
    """
    sha256 = client.get_logged_model(model_id).tags.get(_tag(split, fingerprint))
    if sha256 is None:
        return None
    if not _SHA256.fullmatch(sha256):
        raise RecordedPredictionsError("the tag of its predictions holds no sha256")
    path = f"{_folder(model_id)}/{_file(split, fingerprint, sha256)}"
    with tempfile.TemporaryDirectory() as scratch:
        try:
            file = Path(client.download_artifacts(run_id, path, scratch))
            intact = sha256_of(file) == sha256
        except (MlflowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise RecordedPredictionsError(f"its predictions can't be had ({reason})") from error
        if not intact:
            raise RecordedPredictionsError("the file of its predictions was changed")
        try:
            with safe_open(file, "numpy") as opened:
                described, scores = opened.metadata(), opened.get_tensor(_SCORES)
            wanted = {
                "split": split,
                "dataset_fingerprint": fingerprint,
                "model_checksum": model_checksum,
            }
            if any(described[name] != value for name, value in wanted.items()):
                return None  # of other texts or another model: there are none of these
            names = tuple(json.loads(described[_LABELS]))
            return IsolatedPredictions(names, scores, json.loads(described["padded"]))
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise RecordedPredictionsError(f"its predictions can't be read ({error})") from error


def ran_in_isolation(client: MlflowClient, model_id: str, model_checksum: str) -> bool:
    """Return whether a model with these files has run without this checkout."""
    return bool(client.get_logged_model(model_id).tags.get(ISOLATED_TAG) == model_checksum)


def mark_isolated(client: MlflowClient, model_id: str, model_checksum: str) -> None:
    """Note that a model with these files has run without this checkout."""
    client.set_logged_model_tags(model_id, {ISOLATED_TAG: model_checksum})


def _tag(split: str, fingerprint: str) -> str:
    return f"{TAG}{split}.{fingerprint[:12]}"


def _folder(model_id: str) -> str:
    return f"predictions/{model_id}"


def _file(split: str, fingerprint: str, sha256: str) -> str:
    return f"{split}-{fingerprint[:12]}-{sha256[:12]}.safetensors"
