"""The blend of two parts' logits against scikit-learn and against known answers."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from sentiment.ngrams.blend import fit_blend, log_probabilities


def parts_of(seed, outputs, count=600):
    """Two noisy views of the labels, the first less so."""
    random = np.random.default_rng(seed)
    classes = max(outputs, 2)
    labels = random.integers(0, classes, count)
    truth = np.eye(classes)[labels]
    if outputs == 1:
        truth = truth[:, 1:] - 0.5
    return (
        truth + random.normal(scale=0.6, size=truth.shape),
        3 * truth + random.normal(scale=4, size=truth.shape),
        labels,
    )


def test_two_classes_as_logistic_regression_without_intercept():
    first, second, labels = parts_of(1, 1)
    model = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-8)
    model.fit(np.hstack([first, second]), labels)
    blend = fit_blend(first, second, labels)
    assert blend[:2] == pytest.approx(model.coef_[0], rel=1e-3)
    assert blend.frequencies == 0


@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_no_other_factors_are_better(outputs):
    first, second, labels = parts_of(2, outputs)
    blend = fit_blend(first, second, labels)

    def loss(a, b):
        return log_loss(labels, np.exp(log_probabilities(a * first + b * second)))

    best = loss(blend.recurrent, blend.ngrams)
    assert best < loss(1, 0) and best < loss(0, 1)
    for a in (-0.05, 0, 0.05):
        for b in (-0.05, 0, 0.05):
            assert best <= loss(blend.recurrent + a, blend.ngrams + b) + 1e-7


def test_a_part_that_misleads_is_left_out():
    first, second, labels = parts_of(3, 1)
    blend = fit_blend(-first, second, labels)
    assert blend.recurrent == 0
    assert blend.ngrams > 0
