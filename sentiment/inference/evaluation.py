"""A saved model's predictions and metrics on a split of a data set, in float32."""

from __future__ import annotations

import numpy as np

from sentiment.data.datasets import Dataset
from sentiment.data.labels import class_order
from sentiment.errors import InputError
from sentiment.inference.ensemble import TextModel
from sentiment.inference.metrics import Scores, score
from sentiment.io.processes import available_cores
from sentiment.listing import listed


def score_split(bundle: TextModel, dataset: Dataset, split: str) -> Scores:
    """Score a saved model on the raw texts of a split, in float32.

    Raises:
        InputError: the data has labels that the model does not know.
    """
    predicted = split_log_probabilities(bundle, dataset, split, available_cores())
    return score(predicted, dataset.splits[split].labels)


def split_log_probabilities(
    bundle: TextModel, dataset: Dataset, split: str, workers: int = 1
) -> np.ndarray:
    """Return a saved model's float32 log probabilities (n, C) of a split's n raw texts.

    The classes are in the data's order, and are compared by the values of their labels.

    Args:
        bundle: the model.
        dataset: the data set.
        split: the split's name.
        workers: processes that share many texts.

    Raises:
        InputError: the data has labels that the model does not know.
    """
    order = _class_order(bundle, dataset)
    return bundle.log_probabilities(dataset.splits[split].texts, workers)[:, order]


def split_parts(bundle: TextModel, dataset: Dataset, split: str) -> dict[str, np.ndarray]:
    """Return the float32 log probabilities (n, C) of the parts of a model with an n-gram branch.

    Empty for a model without one; otherwise as `split_log_probabilities`.
    """
    order = _class_order(bundle, dataset)
    parts = bundle.part_log_probabilities(dataset.splits[split].texts)
    return {name: each[:, order] for name, each in parts.items()}


def _class_order(bundle: TextModel, dataset: Dataset) -> list[int]:
    order = class_order(bundle.label_names, dataset.label_names)
    if order is None:
        raise InputError(
            f"the model tells {listed(bundle.label_names)} apart, {dataset.name} has the labels "
            f"{listed(dataset.label_names)}: give the data that the model is for, or name its "
            "labels as the model does by --label-map OLD=NEW"
        )
    return list(order)
