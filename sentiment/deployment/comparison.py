"""What a model lost on its way out: the same texts, predicted before and after.

Shapes: n texts, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sentiment.data.vocabulary import SPECIALS, Vocabulary

TEXTS = 200
"""Texts that are drawn where none are given."""
_LONGEST = 600
_SEED = 1234


@dataclass(frozen=True)
class Comparison:
    """Predictions of a model before and after.

    Attributes:
        texts: their number.
        difference: the greatest of a probability.
        before: share of texts whose likeliest class is their label; None without labels.
        after: the same, afterwards.
    """

    texts: int
    difference: float
    before: float | None = None
    after: float | None = None


def compare(before: np.ndarray, after: np.ndarray, labels: np.ndarray | None = None) -> Comparison:
    """Compare probabilities (n, C) with those of the same texts before; labels are int64 (n,)."""
    difference = float(np.abs(after - before).max())
    if labels is None:
        return Comparison(len(before), difference)
    accuracies = (float(np.mean(each.argmax(axis=1) == labels)) for each in (before, after))
    return Comparison(len(before), difference, *accuracies)


def drawn_texts(vocabulary: Vocabulary, count: int = TEXTS) -> list[str]:
    """Return texts of 0 to 600 words of a vocabulary, the commoner ones more often.

    They are the same each time.
    """
    random = np.random.default_rng(_SEED)
    words = vocabulary.itos[len(SPECIALS) :] or SPECIALS[:1]
    shares = 1 / np.arange(1, len(words) + 1)
    drawn = random.choice(len(words), size=(count, _LONGEST), p=shares / shares.sum())
    lengths = random.integers(0, _LONGEST + 1, size=count)
    return [
        " ".join(words[place] for place in row[:length])
        for row, length in zip(drawn.tolist(), lengths.tolist(), strict=True)
    ]
