"""Metrics of a classifier, from sums and counts over texts.

Shapes: n texts, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scores:
    """How well log probabilities fit labels.

    Attributes:
        loss: mean cross-entropy a text, in nats.
        accuracy: share of texts whose likeliest class is their label.
        f1: unweighted mean of the F1 of all classes (macro average).
        count: texts.
        confusion: (C, C) int64, rows are labels, columns predictions.
    """

    loss: float
    accuracy: float
    f1: float
    count: int
    confusion: np.ndarray

    def metrics(self, split: str) -> dict[str, float]:
        """Return the metrics under their names in the record, such as `valid/accuracy`."""
        return {
            f"{split}/loss": self.loss,
            f"{split}/accuracy": self.accuracy,
            f"{split}/f1": self.f1,
        }


def score(log_probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Score log probabilities (n, C) against labels (n,).

    Raises:
        ValueError: there are no texts, or the shapes don't fit.
    """
    count, classes = log_probabilities.shape
    if count == 0 or labels.shape != (count,):
        raise ValueError(f"{labels.shape} labels don't fit {log_probabilities.shape} predictions")
    predictions = log_probabilities.argmax(axis=1)
    confusion = np.bincount(labels * classes + predictions, minlength=classes**2)
    confusion = confusion.reshape(classes, classes)
    hits = confusion.diagonal()
    # A class that is neither there nor predicted has no F1 and counts 0: scikit-learn does the
    # same with zero_division=0, but only when it is given all labels; else it leaves it out.
    seen = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1 = np.divide(2.0 * hits, seen, out=np.zeros(classes), where=seen > 0)
    loss = -log_probabilities[np.arange(count), labels].astype(np.float64).mean()
    return Scores(
        loss=float(loss),
        accuracy=float(hits.sum() / count),
        f1=float(f1.mean()),
        count=count,
        confusion=confusion,
    )
