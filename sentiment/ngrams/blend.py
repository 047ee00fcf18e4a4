"""How much of the model's logits comes from the RNN and how much from the n-grams.

The two are trained apart: trained together, the n-grams fit train within two passes and leave
the RNN nothing to learn. Two factors, fitted on validation, then weigh their logits. Where macro F1
counts, rare classes gain as well (`sentiment.training.logit_adjustment`).

Shapes: n texts, K outputs, C classes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import log_expit, log_softmax


class Blend(NamedTuple):
    """How the logits of the two parts are added up.

    Attributes:
        recurrent: factor of the RNN's, not below zero.
        ngrams: factor of the n-grams', not below zero.
        frequencies: share of the classes' log frequencies that is taken away.
    """

    recurrent: float
    ngrams: float
    frequencies: float = 0.0

    def logits(self, recurrent: np.ndarray, ngrams: np.ndarray, logs: np.ndarray) -> np.ndarray:
        """Return float32 logits (n, K) of both parts together.

        Args:
            recurrent: (n, K) of the RNN.
            ngrams: (n, K) of the n-grams.
            logs: (K,) log frequencies of the classes.
        """
        both = self.recurrent * recurrent.astype(np.float64) + self.ngrams * ngrams
        return (both - self.frequencies * logs).astype(np.float32)


def fit_blend(recurrent: np.ndarray, ngrams: np.ndarray, labels: np.ndarray) -> Blend:
    """Return the factors with the least cross-entropy, a convex problem of two unknowns.

    Args:
        recurrent: (n, K) logits of the RNN on texts that neither part was trained on.
        ngrams: (n, K) those of the n-grams.
        labels: int64 (n,).
    """
    from scipy.optimize import minimize  # takes a quarter of a second, in each worker too

    parts = np.stack([recurrent, ngrams]).astype(np.float64)
    rows = np.arange(len(labels))

    def loss(factors: np.ndarray) -> tuple[float, np.ndarray]:
        logits = np.tensordot(factors, parts, axes=1)
        scores = log_probabilities(logits)
        error = np.exp(scores)
        error[rows, labels] -= 1
        if logits.shape[1] == 1:
            error = error[:, 1:]
        return -scores[rows, labels].mean(), (parts * error).sum(axis=(1, 2)) / len(labels)

    bounds = [(0, None), (0, None)]
    found = minimize(loss, np.ones(2), jac=True, method="L-BFGS-B", bounds=bounds)
    return Blend(*found.x.tolist())


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Return log probabilities (n, C) of logits (n, K), as the classifier does from its logits."""
    if logits.shape[1] == 1:
        return log_expit(np.concatenate([-logits, logits], axis=1))
    return log_softmax(logits, axis=1)
