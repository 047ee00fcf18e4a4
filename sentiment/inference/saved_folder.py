"""A saved model that is named by its folder, which takes no MLflow to find."""

from __future__ import annotations

from pathlib import Path

from sentiment.errors import InputError
from sentiment.inference.bundle import FILES
from sentiment.inference.ensemble import holds_model

BUNDLE_ARTIFACT = "artifacts/bundle"
"""Where a bundle lies within its logged model."""


def names_folder(reference: str) -> bool:
    """Whether a reference to a model is a path: one that is there, or that can't be a URI."""
    return Path(reference).exists() or "/" in reference.partition(":/")[0]


def bundle_within(folder: Path) -> Path:
    """Return the folder of the bundle: the given one, or within a model as MLflow saves it.

    Raises:
        InputError: there is no such folder, or no model in it.
    """
    for candidate in (folder, folder / BUNDLE_ARTIFACT, folder / Path(BUNDLE_ARTIFACT).name):
        if holds_model(candidate):
            return candidate
    if not folder.exists():
        raise InputError(f"{folder}: there is no such folder")
    raise InputError(f"{folder}: no saved model is in it ({FILES[0]} is missing)")
