"""Metrics of a classifier, from sums and counts over texts.

Shapes: n texts, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassScores:
    """How well one class is distinguished from the others.

    Attributes:
        count: texts of it.
        predicted: texts that are taken for it.
        precision: share of those taken for it that are of it; None where there are none.
        recall: share of its texts that are taken for it; None where there are none.
        f1: harmonic mean of the two; None where the class is neither there nor predicted.
    """

    count: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


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

    @property
    def occurring(self) -> int:
        """Number of classes that are among the labels or the predictions."""
        return int(np.count_nonzero(self.confusion.sum(axis=0) + self.confusion.sum(axis=1)))

    def classes(self) -> list[ClassScores]:
        """Return the metrics of each of the C classes."""
        counts = self.confusion.sum(axis=1).tolist()
        predicted = self.confusion.sum(axis=0).tolist()
        hits = self.confusion.diagonal().tolist()
        return [
            ClassScores(
                count=count,
                predicted=taken,
                precision=hit / taken if taken else None,
                recall=hit / count if count else None,
                f1=2 * hit / (count + taken) if count + taken else None,
            )
            for count, taken, hit in zip(counts, predicted, hits, strict=True)
        ]


def frequent_confusions(confusion: np.ndarray, count: int) -> list[tuple[int, int, int]]:
    """Return which class is taken for which other and how often, the most frequent first.

    Args:
        confusion: (C, C), rows are labels, columns predictions.
        count: how many kinds of confusion at most; those that don't occur are none.
    """
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    flat = wrong.ravel()
    places = np.argsort(-flat, kind="stable")[: min(count, np.count_nonzero(flat))]
    return [(*divmod(place, len(confusion)), int(flat[place])) for place in places.tolist()]


def score(
    log_probabilities: np.ndarray, labels: np.ndarray, *, occurring_only: bool = False
) -> Scores:
    """Score log probabilities (n, C) against labels (n,).

    Args:
        log_probabilities: of n texts.
        labels: of the same.
        occurring_only: leave classes that are neither among the labels nor the predictions out of
            the mean of F1, as for texts of some classes alone; by default they count 0, so that
            the metric is a mean over the same classes from one evaluation of a model to the next.

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
    # A class that is neither there nor predicted has no F1. scikit-learn counts it 0 when it is
    # given all labels and zero_division=0, and else leaves it out.
    seen = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1 = np.divide(2.0 * hits, seen, out=np.zeros(classes), where=seen > 0)
    loss = -log_probabilities[np.arange(count), labels].astype(np.float64).mean()
    return Scores(
        loss=float(loss),
        accuracy=float(hits.sum() / count),
        f1=float(f1[seen > 0].mean() if occurring_only else f1.mean()),
        count=count,
        confusion=confusion,
    )
