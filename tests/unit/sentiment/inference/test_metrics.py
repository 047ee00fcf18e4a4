"""Metrics against scikit-learn, and golden numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss

from sentiment.inference.metrics import frequent_confusions, score


def test_golden_numbers():
    log_probabilities = np.log(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]]))
    scores = score(log_probabilities, np.array([0, 1, 1, 0]))
    assert scores.accuracy == 0.75
    assert scores.loss == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.5]).mean())
    assert scores.f1 == pytest.approx((0.8 + 2 / 3) / 2)
    assert scores.confusion.tolist() == [[2, 0], [1, 1]]
    assert scores.metrics("valid") == {
        "valid/loss": scores.loss,
        "valid/accuracy": 0.75,
        "valid/f1": scores.f1,
    }


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 5), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_agrees_with_scikit_learn(classes, count, seed):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(classes), size=count) + 1e-6
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = random.integers(0, classes, count)
    scores = score(np.log(probabilities), labels)
    predicted = probabilities.argmax(axis=1)
    every = list(range(classes))
    assert scores.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert scores.f1 == pytest.approx(
        f1_score(labels, predicted, labels=every, average="macro", zero_division=0)
    )
    assert scores.loss == pytest.approx(log_loss(labels, probabilities, labels=every))
    assert np.array_equal(scores.confusion, confusion_matrix(labels, predicted, labels=every))


@pytest.mark.filterwarnings("error")
def test_texts_of_one_class():
    log_probabilities = np.log(np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]))
    labels = np.zeros(3, dtype=np.int64)
    scores = score(log_probabilities[:2], labels[:2])
    assert (scores.accuracy, scores.f1, scores.occurring) == (1, 0.5, 1)
    scores = score(log_probabilities[:2], labels[:2], occurring_only=True)
    assert (scores.accuracy, scores.f1) == (1, 1)
    scores = score(log_probabilities, labels, occurring_only=True)
    assert scores.f1 == pytest.approx(f1_score(labels, [0, 0, 1], average="macro"))
    neg, pos = scores.classes()
    assert (neg.count, neg.predicted, neg.precision, neg.recall, neg.f1) == (3, 2, 1, 2 / 3, 0.8)
    assert (pos.count, pos.predicted, pos.precision, pos.recall, pos.f1) == (0, 1, 0, None, 0)


def test_the_most_frequent_confusions():
    confusion = np.array([[5, 3, 0], [9, 2, 1], [0, 0, 4]])
    assert frequent_confusions(confusion, 2) == [(1, 0, 9), (0, 1, 3)]
    assert frequent_confusions(confusion, 10) == [(1, 0, 9), (0, 1, 3), (1, 2, 1)]
    assert frequent_confusions(np.eye(3, dtype=int), 10) == []


def test_no_texts_is_an_error():
    with pytest.raises(ValueError, match="don't fit"):
        score(np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
