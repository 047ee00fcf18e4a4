"""Checkpoints of a training, to resume it later: JSON and safetensors, no pickle.

A checkpoint is a folder: the best model so far as a bundle, the state of the trainer, and a
manifest of sizes and checksums. One without a matching manifest is incomplete and ignored.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from sentiment.config import Config
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.io.cache import is_intact, write_manifest
from sentiment.training.evaluation import TrainerState
from sentiment.training.optim import rescale
from sentiment.training.trainer import Trainer

MODEL_FOLDER = "model"
"""Where the best model so far lies within a checkpoint, as a bundle."""
PROGRESS_FILE = "training.json"
TENSORS_FILE = "training.safetensors"


def save_checkpoint(trainer: Trainer, folder: Path, notes: dict[str, Any]) -> None:
    """Write a training between two evaluations, the first of which is over.

    Frozen embeddings are saved in the bundle alone.

    Args:
        trainer: at an evaluation.
        folder: an empty folder; a later move of it may be interrupted, see `is_whole`.
        notes: what the caller wants to find again; JSON.
    """
    trainer.best.save(folder / MODEL_FOLDER)
    state = trainer.state
    described = {"identity": _identity(trainer), "progress": state.progress, "notes": notes}
    (folder / PROGRESS_FILE).write_text(json.dumps(described), encoding="utf-8")
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.tensors.items()}
    save_file(tensors, folder / TENSORS_FILE)
    write_manifest(folder)


def is_whole(folder: Path) -> bool:
    """Whether a folder holds a checkpoint, all of it as it was written."""
    return is_intact(folder)


def read_notes(folder: Path) -> dict[str, Any]:
    """Return the notes of a whole checkpoint, with `step`, the training steps done by then."""
    described = json.loads((folder / PROGRESS_FILE).read_text(encoding="utf-8"))
    return {**described["notes"], "step": described["progress"]["step"]}


def load_checkpoint(trainer: Trainer, folder: Path) -> dict[str, Any]:
    """Resume a new trainer from a whole checkpoint, and return the notes.

    Raises:
        InputError: the checkpoint is of other settings or other data.
    """
    described = json.loads((folder / PROGRESS_FILE).read_text(encoding="utf-8"))
    if not _is_same(described["identity"], _identity(trainer)):
        raise InputError(f"{folder} is a checkpoint of other settings or other data")
    state = TrainerState(described["progress"], load_file(folder / TENSORS_FILE))
    trainer.restore(state, Bundle.load(folder / MODEL_FOLDER).weights)
    return described["notes"]


def adopt_checkpoint(source: Path, target: Path, config: Config, notes: dict[str, Any]) -> None:
    """Copy a checkpoint, so that a training of other settings continues from it.

    What may differ is the seed, and what a step reads anew: learning rate, weight decay, dropouts.
    The learning rate keeps its place in the schedule.

    Args:
        source: a whole checkpoint, of the same data and precision.
        target: a folder that isn't there.
        config: of the training that is to continue.
        notes: in place of those that the checkpoint has.
    """
    shutil.copytree(source, target)
    path = target / PROGRESS_FILE
    described = json.loads(path.read_text(encoding="utf-8"))
    identity, progress = described["identity"], described["progress"]
    before = Config.model_validate(identity["settings"]).training
    rescale(progress["optimizer"], progress["schedule"], before, config.training)
    identity["settings"] = config.model_dump(mode="json")
    described["notes"] = notes
    path.write_text(json.dumps(described), encoding="utf-8")
    write_manifest(target)


def _is_same(written: dict[str, Any], own: dict[str, Any]) -> bool:
    """Return whether two identities are alike; a setting that is newer counts with its default."""
    try:
        settings = Config.model_validate(written["settings"]).model_dump(mode="json")
    except (KeyError, ValueError):
        return False
    return {**written, "settings": settings} == own


def _identity(trainer: Trainer) -> dict[str, Any]:
    """Return what two trainers must share for one to resume the other's training."""
    return {
        "settings": trainer.config.model_dump(mode="json"),
        "data": trainer.corpus.dataset_fingerprint,
        "precision": trainer.precision,
    }
