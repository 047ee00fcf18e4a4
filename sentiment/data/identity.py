"""Which data a model was made with: what its bundle keeps of it, and whether data is the same.

A bundle travels to other machines and other people, so it names files without their folders.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sentiment.data.datasets import DataConfig, Dataset, load_dataset
from sentiment.data.splits import KEYS, SPLITS_VERSION

DATA = "data"
"""Key of a bundle's metadata: see `portable`."""
SHOWN = 12
"""Characters of a fingerprint that are shown."""


def portable(config: DataConfig) -> dict[str, Any]:
    """Return what a bundle keeps of where its data came from: files by their names alone."""
    names: dict[str, object] = {}
    if config.data is not None:
        names["data"] = tuple(Path(name).name for name in config.data)
    if config.unlabelled is not None:
        names["unlabelled"] = tuple(Path(name).name for name in config.unlabelled)
    if config.data_dir is not None:
        names["data_dir"] = Path(config.data_dir).name
    kept = config.model_copy(update=names).model_dump(mode="json", exclude_defaults=True)
    return kept if config.data is not None else {"dataset": config.dataset, **kept}


def mismatch(dataset: Dataset, fingerprint: str, user: str) -> str | None:
    """Return in one line why a data set is not the one with this fingerprint; None if it is.

    Texts that were divided by the rule of an earlier release are recognised by dividing them so
    once more: the line then names the version of the splits.

    Args:
        dataset: as it is here, with the splits of this release.
        fingerprint: recorded with what was made.
        user: what was made, such as `the run 3f2…` or `version 4`.
    """
    if dataset.is_known_as(fingerprint):
        return None
    version = _earlier_version(dataset, fingerprint)
    if version is not None:
        return (
            f"{user} was made with version {version} of the splits of {dataset.name} (fingerprint "
            f"{fingerprint[:SHOWN]}), which let texts that differ only in white space, case or "
            f"Unicode form stand in train and test; this release draws version {SPLITS_VERSION} "
            f"({dataset.fingerprint[:SHOWN]}): train again to compare"
        )
    return (
        f"{dataset.name} is other data here (fingerprint {dataset.fingerprint[:SHOWN]}) than "
        f"{user} was made with ({fingerprint[:SHOWN]})"
    )


def _earlier_version(dataset: Dataset, fingerprint: str) -> int | None:
    """Return the earlier version of the splits that has the fingerprint; None if none has."""
    if dataset.config is None:
        return None
    for version in KEYS:
        if version != SPLITS_VERSION:
            earlier = load_dataset(dataset.config, version=version)
            if earlier.is_known_as(fingerprint):
                return version
    return None
