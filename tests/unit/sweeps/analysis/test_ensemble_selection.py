"""Which models are taken into an ensemble, on known probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from sweeps.analysis.ensemble_selection import LEAST_GAIN, select

LABELS = np.array([1, 1, 0, 0])


def log_of(*positive: float) -> np.ndarray:
    """Log probabilities of two classes, by that of the second."""
    shares = np.array(positive)
    return np.log(np.stack([1 - shares, shares], axis=1))


FIRST = log_of(0.9, 0.3, 0.4, 0.2)
"""Wrong on the second text."""
OTHER = log_of(0.3, 0.9, 0.2, 0.4)
"""Wrong on the first."""
WORSE = log_of(0.2, 0.1, 0.9, 0.8)


def test_models_that_err_on_other_texts_join() -> None:
    assert select([FIRST, OTHER, WORSE], LABELS, 3) == [1, 1, 0]


def test_nothing_that_gains_nothing_is_taken() -> None:
    assert select([FIRST, WORSE], LABELS, 2) == [1, 0]
    assert select([FIRST, FIRST], LABELS, 2) == [1, 0]
    assert select([FIRST], LABELS, 2) == [1]
    assert select([FIRST, OTHER], LABELS, 1) == [1, 0]


def loss(*models: np.ndarray) -> float:
    """The loss of the mean of models' logits."""
    shares = np.exp(np.mean(models, axis=0))
    shares /= shares.sum(axis=1, keepdims=True)
    return float(-np.log(shares[np.arange(len(LABELS)), LABELS]).mean())


def test_a_model_is_taken_again_where_that_gains() -> None:
    # Half of the other loses, a fifth of it gains.
    other = log_of(0.1, 0.9, 0.6, 0.6)
    assert select([FIRST, other], LABELS, 2) == [4, 1]
    assert loss(FIRST, other) > loss(FIRST) > loss(*[FIRST] * 4, other)
    first, better = select([FIRST, log_of(0.9, 0.8, 0.2, 0.2)], LABELS, 2)
    assert (first, better) == (1, 48)


@pytest.mark.parametrize(("most", "taken"), [(1, [0]), (2, [0, 5]), (3, [0, 2, 5]), (6, [0, 2, 5])])
def test_no_more_are_taken_than_are_allowed_or_gain(most: int, taken: list[int]) -> None:
    random = np.random.default_rng(3)
    candidates = [log_of(*random.uniform(0.2, 0.8, 4)) for _ in range(6)]
    counts = select(candidates, LABELS, most)
    assert [place for place, count in enumerate(counts) if count] == taken
    models = [each for n, each in zip(counts, candidates, strict=True) for _ in range(n)]
    assert (loss(*models) < loss(candidates[0]) - LEAST_GAIN) == (most > 1)


def test_more_than_two_classes() -> None:
    one = np.log([[0.8, 0.1, 0.1], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    two = np.log([[0.4, 0.5, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    assert select([one, two], np.array([0, 1, 2]), 2) == [3, 5]
