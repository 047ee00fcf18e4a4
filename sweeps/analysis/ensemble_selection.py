"""Which models make an ensemble (Caruana et al. 2004, "Ensemble selection from libraries of
models"): one after the other, with replacement, whichever lowers the loss on validation most.

Shapes: n texts, C classes, m candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax

LEAST_GAIN = 1e-4
"""Nats a text that more models must gain: less is noise, and not worth their time."""
ROUNDS = 50
"""Models that are taken, some again and again: weights are multiples of a fiftieth or more."""


def select(log_probabilities: Sequence[np.ndarray], labels: np.ndarray, most: int) -> list[int]:
    """Return how often each candidate is taken; the first is taken first.

    What is taken may gain nothing by itself: the first once more lets the next join with a third
    in place of a half. Of all rounds the one counts after which nothing gains.

    Args:
        log_probabilities: (n, C) of each of the m candidates; their logits are averaged.
        labels: int64 (n,).
        most: different candidates that may be taken.

    Returns:
        m counts; where nothing gains, 1 and zeros.
    """
    rows = np.arange(len(labels))

    def loss(total: np.ndarray, count: int) -> float:
        return float(-log_softmax(total / count, axis=1)[rows, labels].mean())

    counts = [1, *(0 for _ in log_probabilities[1:])]
    total = log_probabilities[0].astype(np.float64)
    best, reached = list(counts), loss(total, 1)
    for size in range(2, ROUNDS + 1):
        full = sum(count > 0 for count in counts) >= most
        losses = {
            place: loss(total + each, size)
            for place, each in enumerate(log_probabilities)
            if counts[place] or not full
        }
        taken = min(losses, key=lambda place: losses[place])
        counts[taken] += 1
        total = total + log_probabilities[taken]
        if losses[taken] < reached - LEAST_GAIN:
            best, reached = list(counts), losses[taken]
    return best
