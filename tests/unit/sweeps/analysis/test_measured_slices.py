"""Slices of a split by label and by length of text."""

from __future__ import annotations

import numpy as np
import pytest

from sweeps.analysis.measured_slices import FEWEST, MeasuredSlices, slices_by_length
from sweeps.analysis.significance import wilson


def test_texts_are_divided_by_length_into_equal_parts() -> None:
    texts = ["x" * length for length in range(100, 0, -1)]
    hits = np.array([length > 50 for length in range(100, 0, -1)])
    found = slices_by_length(texts, hits)
    assert [(part.shortest, part.longest) for part in found] == [
        (1, 25),
        (26, 50),
        (51, 75),
        (76, 100),
    ]
    assert [part.count for part in found] == [25] * 4
    assert [part.accuracy for part in found] == [0, 0, 1, 1]
    assert found[0].interval == wilson(0, 25)


@pytest.mark.parametrize(
    ("lengths", "ranges"),
    [
        ([5] * 200, [(5, 5)]),
        ([5] * 150 + [9] * 50, [(5, 5), (9, 9)]),
        ([1] * (2 * FEWEST - 1), []),
        ([1] * FEWEST + [2] * FEWEST, [(1, 1), (2, 2)]),
    ],
)
def test_equal_lengths_stay_together_and_few_texts_in_one_part(
    lengths: list[int], ranges: list[tuple[int, int]]
) -> None:
    found = slices_by_length(["x" * length for length in lengths], np.ones(len(lengths), bool))
    assert [(part.shortest, part.longest) for part in found] == ranges
    assert sum(part.count for part in found) == (len(lengths) if ranges else 0)


def test_measures_agree_with_the_predictions() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
    labels = np.array([0, 1, 1, 1])
    measured = MeasuredSlices.of(["a"] * 4, labels, np.log(probabilities), ("neg", "pos"))
    assert measured.scores.accuracy == 0.75
    assert measured.confidence == pytest.approx(0.75)
    assert [(name, each.recall) for name, each in measured.labels] == [
        ("neg", 1.0),
        ("pos", pytest.approx(2 / 3)),
    ]
    assert measured.lengths == []
