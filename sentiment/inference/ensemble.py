"""The ensemble: several saved models that answer together, in one folder.

Its logits are the weighted mean of those of its members, so its log-odds are the mean of theirs,
and what a word adds to them is the mean of what it adds in each. The folder holds `ensemble.json`,
the weights, and `members/0`, `members/1`, …, each the folder of a bundle.

Shapes: n texts, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sentiment.config import Config
from sentiment.data.corpus import text_key
from sentiment.data.tokenizer import Tokenizer
from sentiment.errors import InputError
from sentiment.inference.bundle import FILES, Bundle
from sentiment.inference.model_folder import read_json, write_json, written_whole

FORMAT = 1
ENSEMBLE_FILE = "ensemble.json"
MEMBERS_FOLDER = "members"


@dataclass(frozen=True)
class Ensemble:
    """Models that answer together; they tell the same labels apart and tokenize alike.

    None reads the padding, so a text gets the same answer in any batch.

    Attributes:
        members: the models.
        weights: of their logits, above 0, 1 together.
    """

    members: tuple[Bundle, ...]
    weights: tuple[float, ...]

    def save(self, folder: Path | str, in_8_bits: bool = False) -> Path:
        """Write the ensemble: whole under its name, or not at all; see `Bundle.save`."""
        folder = Path(folder)
        with written_whole(folder) as temporary:
            described = {"format": FORMAT, "weights": list(self.weights)}
            write_json(temporary / ENSEMBLE_FILE, described)
            for number, member in enumerate(self.members):
                member.save(temporary / MEMBERS_FOLDER / str(number), in_8_bits)
        return folder

    @classmethod
    def load(cls, folder: Path | str) -> Ensemble:
        """Read an ensemble and check that its members fit each other.

        Raises:
            InputError: a file is missing, torn, of another format, or does not fit the others.
        """
        file, within = Path(folder, ENSEMBLE_FILE), Path(folder, MEMBERS_FOLDER)
        described = read_json(file, dict)
        if described.get("format") != FORMAT:
            raise InputError(
                f"{file}: format {described.get('format')!r}, this version reads format {FORMAT}"
            )
        weights = described.get("weights")
        if not _are_weights(weights):
            raise InputError(f"{file}: its weights are no numbers above 0 that add up to 1")
        found = {path.name for path in within.iterdir()} if within.is_dir() else set()
        if found != {str(number) for number in range(len(weights))}:
            raise InputError(f"{within}: does not hold the {len(weights)} members of {file.name}")
        members = [Bundle.load(within / str(number)) for number in range(len(weights))]
        reason = misfit(members)
        if reason is not None:
            raise InputError(f"{folder}: {reason}")
        return cls(tuple(members), tuple(map(float, weights)))

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes' names, by their index."""
        return self.members[0].label_names

    @property
    def config(self) -> Config:
        """The settings of the first member; labels, tokens and packing are alike in all."""
        return self.members[0].config

    @property
    def metadata(self) -> dict[str, Any]:
        """What the first member was trained on; the data is that of all."""
        return self.members[0].metadata

    @property
    def tokenize(self) -> Tokenizer:
        """The function from a text to its tokens."""
        return self.members[0].tokenize

    def predict(self, texts: list[str], workers: int = 1) -> np.ndarray:
        """Return float32 probabilities (n, C); see `Bundle.predict`."""
        return np.exp(self.log_probabilities(texts, workers))

    def log_probabilities(self, texts: list[str], workers: int = 1) -> np.ndarray:
        """Return float32 log probabilities (n, C), rows in the order of the texts."""
        return combined(
            [member.log_probabilities(texts, workers) for member in self.members], self.weights
        )

    def part_log_probabilities(self, texts: list[str]) -> dict[str, np.ndarray]:
        """Return nothing: an ensemble is not divided into an RNN and n-grams."""
        return {}

    def heaviest_ngrams(self, count: int) -> dict[str, list[tuple[str, float]]]:
        """Return nothing: its members may count different n-grams."""
        return {}


TextModel: TypeAlias = Bundle | Ensemble
"""Any saved model."""


def load_model(folder: Path | str) -> TextModel:
    """Load a saved model, whichever kind it is.

    Raises:
        InputError: a file is missing, torn, of another format, or does not fit the others.
    """
    return Ensemble.load(folder) if Path(folder, ENSEMBLE_FILE).is_file() else Bundle.load(folder)


def holds_model(folder: Path) -> bool:
    """Return whether a folder looks like that of a saved model."""
    return (folder / FILES[0]).is_file() or (folder / ENSEMBLE_FILE).is_file()


def first_bundle(folder: Path) -> Path:
    """Return the folder of a saved model's bundle, or of its first member's."""
    within = folder / MEMBERS_FOLDER / "0"
    return within if (folder / ENSEMBLE_FILE).is_file() else folder


def weighted_members(model: TextModel) -> list[tuple[float, Bundle]]:
    """Return the bundles of a model with the weights of their logits; 1 of a bundle alone."""
    if isinstance(model, Bundle):
        return [(1.0, model)]
    return list(zip(model.weights, model.members, strict=True))


def combined(log_probabilities: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Return the float32 log probabilities (n, C) of weighted means of logits.

    Args:
        log_probabilities: (n, C) of each member; they are its logits but for a number a text.
        weights: of the members.
    """
    from scipy.special import log_softmax  # which single models don't need, for a fifth of a second

    total = sum(
        weight * each.astype(np.float64)
        for weight, each in zip(weights, log_probabilities, strict=True)
    )
    return log_softmax(total, axis=1).astype(np.float32)


def misfit(members: Sequence[Bundle]) -> str | None:
    """Return why models can't be one ensemble; None if they can."""
    first = members[0]
    for number, each in enumerate(members):
        if each.label_names != first.label_names:
            return f"member {number} has other labels than member 0"
        if text_key(each.config.text) != text_key(first.config.text):
            return f"member {number} tokenizes otherwise than member 0"
        if each.config.model.packing == "padded":
            return f"member {number} reads the padding, so its answers depend on the batch"
    return None


def _are_weights(values: Any) -> bool:
    return (
        isinstance(values, list)
        and all(isinstance(each, float | int) and 0 < each <= 1 for each in values)
        and math.isclose(sum(values), 1, abs_tol=1e-6)
    )
