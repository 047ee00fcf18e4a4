"""How well a model's probabilities match its accuracy: the data of the calibration figure."""

from __future__ import annotations

import numpy as np

from sweeps.analysis.predictions import Predictions
from sweeps.analysis.significance import wilson

BINS = 10
"""Groups of a reliability diagram, of equally many texts each."""


class Reliability:
    """Texts of like confidence, and how often the model was right about them."""

    def __init__(self, confidence: np.ndarray, hits: np.ndarray) -> None:
        """Measure a group: confidences (n,) and booleans (n,)."""
        self.count = len(hits)
        self.confidence = float(confidence.mean())
        self.accuracy = float(hits.mean())
        self.interval = wilson(int(hits.sum()), self.count)


def reliability(predictions: Predictions) -> list[Reliability]:
    """Return groups of equally many texts by confidence, the least sure first."""
    order = np.argsort(predictions.confidence, kind="stable")
    groups = np.array_split(order, min(BINS, len(order)))
    return [Reliability(predictions.confidence[g], predictions.hits[g]) for g in groups]


def calibration_error(predictions: Predictions) -> float:
    """Return the expected calibration error over groups of equally many texts.

    The mean, over texts, of how far a group's confidence lies from its accuracy (Naeini et al.
    2015, AAAI; with equal counts as in Nguyen and O'Connor 2015, EMNLP).
    """
    groups = reliability(predictions)
    count = sum(group.count for group in groups)
    return sum(group.count * abs(group.confidence - group.accuracy) for group in groups) / count
