"""The sha256 of a saved model's files: recorded with a version, checked before it is promoted.

The list of them is an artifact of the run that trained the model; the version's tag holds one
sha256 over that list, so that whoever can change artifacts alone can't change both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient

from sentiment.errors import InputError
from sentiment.io.cache import sha256_of
from sweeps.tracking.queries import artifact_text

CHECKSUM_TAG = "checksums_sha256"
"""A version's tag: the sha256 of its run's artifact `checksums/MODEL.json`."""
LIST_TAG = "sha256"
"""The tag of versions from before: the whole list, as JSON."""


def file_checksums(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file in a folder, by its path within it."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def checksum(files: Mapping[str, str]) -> str:
    """Return one sha256 over those of many files, as `file_checksums` returns them."""
    return hashlib.sha256(_listed(files).encode("ascii")).hexdigest()


def record_checksums(
    client: MlflowClient, run_id: str, model_id: str, files: Mapping[str, str]
) -> dict[str, str]:
    """Keep the list of a model's files with the run that trained it; return the version's tag."""
    client.log_text(run_id, _listed(files), _artifact(model_id))
    return {CHECKSUM_TAG: checksum(files)}


def has_checksums(tags: Mapping[str, str]) -> bool:
    """Return whether a version's tags hold checksums of its files."""
    return CHECKSUM_TAG in tags or LIST_TAG in tags


def changes(
    client: MlflowClient,
    tags: Mapping[str, str],
    run_id: str,
    model_id: str,
    found: Mapping[str, str],
) -> list[str]:
    """Return how a model's files differ from the registered ones, a line a file.

    Args:
        client: client of the store.
        tags: the version's; `has_checksums` is true of them.
        run_id: the run that trained the model.
        model_id: the logged model.
        found: the sha256 of its files as they are now.
    """
    if CHECKSUM_TAG not in tags:
        return differences(json.loads(tags[LIST_TAG]), found)
    if checksum(found) == tags[CHECKSUM_TAG]:
        return []
    # The list serves only to name the files; the tag alone has decided.
    try:
        text = artifact_text(client, run_id, _artifact(model_id))
    except InputError:
        return ["their checksum differs, and the list of checksums is gone"]
    if hashlib.sha256(text.encode()).hexdigest() != tags[CHECKSUM_TAG]:
        return ["their checksum differs, and the list of checksums was changed too"]
    return differences(json.loads(text), found)


def differences(recorded: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Return in which files two lists of checksums differ, a line a file."""
    return [
        *(f"{name} is missing" for name in recorded if name not in found),
        *(
            f"{name} is not the file it was"
            for name in recorded
            if found.get(name) not in (None, recorded[name])
        ),
        *(f"{name} was not there" for name in found if name not in recorded),
    ]


def _artifact(model_id: str) -> str:
    return f"checksums/{model_id}.json"


def _listed(files: Mapping[str, str]) -> str:
    """Write a list of checksums in its one form."""
    return json.dumps(dict(files), indent=1, sort_keys=True) + "\n"
