"""The model that a server answers with, and what it is called in answers and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sentiment.errors import InputError

if TYPE_CHECKING:
    from sentiment.inference.ensemble import TextModel
    from sentiment.tracking.model_uri import SavedModel

TRIAL_TEXT = "This film is great. " * 40
"""What a model predicts before it answers requests."""

_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ServedModel:
    """A loaded model under its name.

    Attributes:
        name: `MODEL/VERSION` of a registered one, else its run's id or its folder's name.
        bundle: what predicts.
    """

    name: str
    bundle: TextModel


def model_name(saved: SavedModel) -> str:
    """Return what a saved model is called in answers: `sentiment/3`, a run's id, a folder."""
    if saved.version is not None:
        return f"{saved.version.name}/{saved.version.version}"
    return saved.run_id or saved.folder.name


def registered_version(name: str) -> tuple[str, str] | None:
    """Return model and version of a registered one by its name in answers; None of any other.

    No registered model, run or folder has a slash in its name.
    """
    model, slash, version = name.rpartition("/")
    return (model, version) if slash else None


def load_served(saved: SavedModel) -> ServedModel:
    """Load a saved model.

    Raises:
        InputError: it is damaged.
    """
    from sentiment import cli
    from sentiment.inference.ensemble import load_model

    bundle = load_model(saved.folder)
    cli.warn_of_padding(bundle.config)
    return ServedModel(model_name(saved), bundle)


def check_answers(model: ServedModel) -> None:
    """Let a model predict, as its first request would have it.

    Raises:
        InputError: its probabilities are none.
    """
    for count in (1, 2, 3):
        probabilities = model.bundle.predict([TRIAL_TEXT] * count)
        sums = probabilities.sum(axis=1)
        if not np.isfinite(probabilities).all() or np.abs(sums - 1).max() > _SUM_TOLERANCE:
            raise InputError(f"{model.name}: it answers with what are no probabilities")
