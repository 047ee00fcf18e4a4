"""Logits for macro F1: log frequencies by hand, and a rare class that is found again."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from sentiment.training.logit_adjustment import SHARES, choose_share, log_frequencies


def test_log_frequencies_by_hand():
    labels = np.repeat([0, 1, 2], [10, 30, 60])
    assert log_frequencies(labels, 3, 3) == pytest.approx(np.log([0.1, 0.3, 0.6]))
    two = np.repeat([0, 1], [20, 80])
    assert log_frequencies(two, 2, 2) == pytest.approx(np.log([0.2, 0.8]))
    # Under one logit it is that of the second class over the first.
    assert log_frequencies(two, 2, 1) == pytest.approx([np.log(4)])


def test_a_class_that_does_not_occur_counts_as_one_text():
    assert log_frequencies(np.zeros(9, dtype=np.int64), 2, 2) == pytest.approx(np.log([0.9, 0.1]))


def rare_among_frequent(outputs, seed=0, count=4_000):
    """Logits of a model of the least cross-entropy, and labels of which few are of one class."""
    random = np.random.default_rng(seed)
    shares = [0.95, 0.05] if outputs == 1 else [0.6, 0.36, 0.04]
    labels = random.choice(len(shares), size=count, p=shares)
    seen = np.eye(len(shares))[labels] + random.normal(scale=1.0, size=(count, len(shares)))
    # By the rule of Bayes, for normal features.
    logits = seen + np.log(shares)
    return (logits[:, 1:] - logits[:, :1] if outputs == 1 else logits), labels


def macro_f1(logits, labels):
    predicted = logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(axis=1)
    return f1_score(labels, predicted, average="macro")


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_share_with_the_best_macro_f1_is_chosen(outputs):
    logits, labels = rare_among_frequent(outputs)
    frequencies = log_frequencies(labels, max(outputs, 2), outputs)
    values = [macro_f1(logits - share * frequencies, labels) for share in SHARES]
    chosen = choose_share(logits, labels, frequencies)
    assert chosen == SHARES[int(np.argmax(values))] > 0
    # It holds for other texts too.
    others, truth = rare_among_frequent(outputs, seed=1)
    assert macro_f1(others - chosen * frequencies, truth) > macro_f1(others, truth) + 0.01


def test_nothing_is_changed_where_nothing_is_gained():
    labels = np.repeat([0, 1], [90, 10])
    logits = 9.0 * np.eye(2)[labels]
    assert choose_share(logits, labels, log_frequencies(labels, 2, 2)) == 0
