"""The model card says of a model what its predictions of the test split show, and no more."""

from __future__ import annotations

import numpy as np

from sentiment.config import Config
from sentiment.data.datasets import Dataset, Split
from sweeps.analysis.measured_slices import MeasuredSlices
from sweeps.reporting.model_card import LABELS, known_limits, model_card

NAMES = ("neg", "pos")


def measured_of(hits: np.ndarray, labels: np.ndarray, probability: float = 0.9) -> MeasuredSlices:
    """Return the measures of a model that is right where `hits` says, always equally sure."""
    predicted = np.where(hits, labels, 1 - labels)
    scores = np.full((len(labels), 2), np.log(1 - probability))
    scores[np.arange(len(labels)), predicted] = np.log(probability)
    texts = ["x" * (10 + index) for index in range(len(labels))]
    return MeasuredSlices.of(texts, labels, scores, NAMES)


def test_what_is_as_good_as_all_is_no_limit() -> None:
    labels = np.arange(400) % 2
    measured = measured_of(np.arange(400) % 9 > 0, labels)
    config = Config.from_flat({"max_length": 0})
    assert known_limits(config, measured) == [
        "Texts of other kinds, sources or languages than these were not measured."
    ]


def test_a_weak_label_long_texts_and_too_much_confidence_are_told() -> None:
    labels = np.arange(400) % 2
    hits = np.ones(400, dtype=bool)
    hits[(labels == 1) & (np.arange(400) >= 300)] = False
    measured = measured_of(hits, labels, 0.99)
    settings = {"max_length": 256, "truncation": "head_tail", "ngrams": 2}
    limits = known_limits(Config.from_flat(settings), measured)
    assert limits[1:] == [
        "Of the 200 texts labelled pos it finds 75%, fewer than of all (88%).",
        "Texts of 310 to 409 characters: accuracy 0.5000, below that of all.",
        "Its probabilities are too high: 0.99 on average where 0.88 are right.",
        "Of a text its RNN reads the first and last 256 tokens, the n-grams read all.",
    ]


def test_the_card_has_use_labels_and_lengths() -> None:
    labels = np.arange(400) % 2
    split = Split(["a text"] * 400, labels)
    dataset = Dataset("mine.csv", NAMES, {"train": split, "test": split}, "f" * 64)
    card = "\n".join(model_card(dataset, Config(), measured_of(labels == 0, labels)))
    assert "like those of mine.csv as one of neg, pos (400 train, 400 test texts)" in card
    assert "| pos | 200 |  | 0.0000 | 0.0000 |" in card
    assert "| 10 to 109 | 100 | 0.5000 | 0.4038 to 0.5962 |" in card


def test_of_many_labels_the_weakest_are_listed() -> None:
    count = 30
    labels = np.repeat(np.arange(count), 10)
    predicted = labels.copy()
    predicted[labels == 7] = 8
    scores = np.full((len(labels), count), -9.0)
    scores[np.arange(len(labels)), predicted] = 0
    names = tuple(f"label {number}" for number in range(count))
    measured = MeasuredSlices.of(["a"] * len(labels), labels, scores, names)
    split = Split(["a"] * len(labels), labels)
    card = "\n".join(model_card(Dataset("d", names, {"test": split}, "f"), Config(), measured))
    rows = [line for line in card.splitlines() if line.startswith("| label ")]
    assert rows[1].startswith("| label 7 | 10 |")
    assert len(rows) == 1 + LABELS
    assert f"{count - LABELS} more, whose recall is higher." in card
