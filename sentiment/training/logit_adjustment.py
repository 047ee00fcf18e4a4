"""Logits for macro F1, which counts a rare class as much as a frequent one.

A model of the least cross-entropy seldom answers with a rare class. A share of each class's log
frequency is taken from its logit (Menon et al. 2021, "Long-tail learning via logit adjustment",
arXiv:2007.07314); validation chooses the share.

Shapes: n texts, K outputs: 1 for two classes under one logit, else one a class; C classes.
"""

from __future__ import annotations

import numpy as np

from sentiment.inference.metrics import score
from sentiment.ngrams.blend import log_probabilities

SHARES = tuple(step / 10 for step in range(11))
"""Shares that validation chooses from; with 1 all classes are as likely without any text."""


def log_frequencies(labels: np.ndarray, classes: int, outputs: int) -> np.ndarray:
    """Return the log frequency of each class as logits, float64 (K,).

    Args:
        labels: int64 (n,), of train.
        classes: C; one that does not occur counts as a single text.
        outputs: K.
    """
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    logs = np.log(counts / counts.sum())
    return logs[1:] - logs[:1] if outputs == 1 else logs


def choose_share(logits: np.ndarray, labels: np.ndarray, frequencies: np.ndarray) -> float:
    """Return the share that gives the best macro F1; of equal ones the least.

    Args:
        logits: (n, K) of texts of validation.
        labels: int64 (n,).
        frequencies: (K,), see `log_frequencies`.
    """
    return max(
        SHARES, key=lambda share: score(log_probabilities(logits - share * frequencies), labels).f1
    )
