"""The texts that `sentiment.evaluate` scores: a split of the model's own data, or of other data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment import cli
from sentiment.data.datasets import DataConfig, Dataset, Split, load_dataset, whole_fingerprint
from sentiment.data.identity import mismatch
from sentiment.data.labels import class_numbers
from sentiment.data.sources import find_sources
from sentiment.data.tables import read_table
from sentiment.errors import InputError
from sentiment.listing import listed
from sentiment.tracking.model_data import own_data

if TYPE_CHECKING:
    from sentiment.inference.ensemble import TextModel
    from sentiment.tracking.model_uri import SavedModel

SPLITS = ("train", "valid", "test", "all")
"""What may be scored; `all` is every labelled text."""


@dataclass(frozen=True)
class ScoredTexts:
    """Labelled texts that a model is scored on.

    Attributes:
        name: of the data set, or of the user's file.
        sources: the files, those without labels too; none for a data set by name alone.
        fingerprint: of the data set that they are part of.
        own: whether that is the data set that the model was trained on.
        split: one of `SPLITS`.
        texts: n of them.
        labels: int64 (n,), by the model's label names.
        note: what else the reader should know of the data; None if nothing.
    """

    name: str
    sources: tuple[Path, ...]
    fingerprint: str
    own: bool
    split: str
    texts: list[str]
    labels: np.ndarray
    note: str | None = None


def select_texts(
    model: SavedModel, bundle: TextModel, named: Mapping[str, Any], split: str | None
) -> ScoredTexts:
    """Return the texts to score.

    Without a data set or a file they are the model's own, which must be what it was trained on.

    Args:
        model: the model as it was found.
        bundle: the same, loaded.
        named: the fields of `DataConfig` that the user gave.
        split: one of `SPLITS`; None: all of a file that the model was not trained on, else test.

    Raises:
        InputError: the data can't be had, has labels that the model does not know, or is not
            the model's own where that is meant.
    """
    seen = bundle.metadata.get("dataset_fingerprint")
    if named.keys() & {"dataset", "data"}:
        config = cli.checked_data_config(named)
        if config.data is not None:
            return _of_file(config, bundle, split)
        dataset = load_dataset(config)
        return _part(dataset, bundle, split or "test", _note(dataset, bundle))
    config = own_data(model, bundle.metadata)
    config = cli.checked_data_config({**config.model_dump(exclude_defaults=True), **named})
    try:
        dataset = load_dataset(config)
    except InputError as error:
        raise InputError(
            f"the data that the model was trained on can't be had: {error}; name it, or other "
            "data, by --dataset or --data"
        ) from error
    different = None if seen is None else mismatch(dataset, seen, "the model")
    if different is not None:
        raise InputError(f"{different}; to score it all the same, name it by --dataset or --data")
    return _part(dataset, bundle, split or "test")


def _part(dataset: Dataset, bundle: TextModel, split: str, note: str | None = None) -> ScoredTexts:
    """Return a split of a data set, or its labelled texts one split after the other."""
    cli.tell_left_out(dataset.account)
    parts = [dataset.splits[name] for name in (SPLITS[:-1] if split == "all" else (split,))]
    number = _numbers(dataset.label_names, bundle.label_names, dataset.name)
    return ScoredTexts(
        name=dataset.name,
        sources=_sources(dataset.config),
        fingerprint=dataset.fingerprint,
        own=_is_own(dataset, bundle),
        split=split,
        texts=[text for part in parts for text in part.texts],
        labels=number[np.concatenate([part.labels for part in parts])],
        note=note,
    )


def _of_file(config: DataConfig, bundle: TextModel, split: str | None) -> ScoredTexts:
    """Return texts of a user's file, whether or not it could be trained on."""
    dataset, problem = None, None
    try:
        dataset = load_dataset(config)
    except InputError as error:
        # One class alone or no text for train is enough to be scored; what can't be read at all
        # is reported below.
        problem = error
    own = dataset is not None and _is_own(dataset, bundle)
    note = None if dataset is None else _note(dataset, bundle)
    split = split or ("test" if own else "all")
    if dataset is not None and own and split != "all":
        return _part(dataset, bundle, split)
    assert config.data is not None
    table = read_table(config)
    rows = np.array([split in ("all", each) for each in table.splits or [""] * len(table.texts)])
    if not rows.any():
        # The file does not say which texts those are: they are drawn, if it can be divided.
        if dataset is None:
            assert problem is not None
            raise problem
        return _part(dataset, bundle, split, note)
    cli.tell_left_out(table.account)
    labels = _numbers(table.labels, bundle.label_names, table.account.where)
    whole = Split(table.texts, labels)
    part = whole.where(rows)
    return ScoredTexts(
        name=table.account.name,
        sources=_sources(config),
        fingerprint=(dataset.fingerprint if dataset and own else None)
        or whole_fingerprint(bundle.label_names, whole),
        own=own,
        split=split,
        texts=part.texts,
        labels=part.labels,
        note=note,
    )


def _sources(config: DataConfig | None) -> tuple[Path, ...]:
    """Return the user's files that the texts came from."""
    names = () if config is None else (*(config.data or ()), *(config.unlabelled or ()))
    return tuple(dict.fromkeys(source.path for name in names for source in find_sources([name])))


def _is_own(dataset: Dataset, bundle: TextModel) -> bool:
    return dataset.is_known_as(bundle.metadata.get("dataset_fingerprint"))


def _note(dataset: Dataset, bundle: TextModel) -> str | None:
    """Return why data that is called like the model's own is not the same."""
    seen = bundle.metadata.get("dataset_fingerprint")
    if seen is None or dataset.name != bundle.metadata.get("dataset"):
        return None
    return mismatch(dataset, seen, "the model")


def _numbers(labels: Sequence[str], label_names: Sequence[str], where: str) -> np.ndarray:
    """Return labels as int64 indexes into the model's label names.

    Raises:
        InputError: the model does not know one of them.
    """
    numbers = class_numbers(label_names, labels)
    unknown = sorted(label for label, number in numbers.items() if number is None)
    if unknown:
        raise InputError(
            f"the model tells {listed(label_names)} apart, {where} has the labels "
            f"{listed(unknown)}: give the data that the model is for, or name its labels as the "
            "model does by --label-map OLD=NEW"
        )
    return np.array([numbers[label] for label in labels], dtype=np.int64)
