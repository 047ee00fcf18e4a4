"""Accuracy of predictions on parts of a split: by label, and by length of text.

Shapes: n texts, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sentiment.inference.metrics import ClassScores, Scores, score
from sweeps.analysis.significance import wilson

PARTS = 4
"""Parts of equal size into which texts are divided by length."""
FEWEST = 25
"""Texts of a part: of fewer an accuracy says little."""


@dataclass(frozen=True)
class LengthSlice:
    """The texts of a split whose length lies in one range.

    Attributes:
        shortest: least characters of such a text, inclusive.
        longest: most characters, inclusive.
        hits: texts whose likeliest class is their label.
        count: all texts.
    """

    shortest: int
    longest: int
    hits: int
    count: int

    @property
    def accuracy(self) -> float:
        """Share of hits."""
        return self.hits / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """The accuracy's 95% interval, see `wilson`."""
        return wilson(self.hits, self.count)


@dataclass(frozen=True)
class MeasuredSlices:
    """How well a model does on a split as a whole and in parts.

    Attributes:
        scores: on the whole.
        labels: C names, each with its metrics.
        lengths: from the shortest texts to the longest; none where there are too few texts.
        confidence: mean probability of the likeliest class; above the accuracy where the model is
            surer than it is right.
    """

    scores: Scores
    labels: list[tuple[str, ClassScores]]
    lengths: list[LengthSlice]
    confidence: float

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        labels: np.ndarray,
        log_probabilities: np.ndarray,
        label_names: Sequence[str],
    ) -> MeasuredSlices:
        """Measure predictions.

        Args:
            texts: n texts.
            labels: int64 (n,).
            log_probabilities: (n, C).
            label_names: C names.
        """
        scores = score(log_probabilities, labels)
        likeliest = log_probabilities.max(axis=1).astype(np.float64)
        hits = log_probabilities.argmax(axis=1) == labels
        return cls(
            scores,
            list(zip(label_names, scores.classes(), strict=True)),
            slices_by_length(texts, hits),
            float(np.exp(likeliest).mean()),
        )


def slices_by_length(texts: Sequence[str], hits: np.ndarray) -> list[LengthSlice]:
    """Divide texts by length into parts of about equal size, the shortest first.

    Characters are counted, since not every language has blanks between its words.

    Args:
        texts: n texts.
        hits: bool (n,), whether each was classified right.
    """
    parts = min(PARTS, len(texts) // FEWEST)
    if parts < 2:
        return []
    lengths = np.array([len(text) for text in texts])
    inner = np.quantile(lengths, np.arange(1, parts) / parts, method="lower")
    limits = np.unique(np.append(inner, lengths.max()))
    part = np.searchsorted(limits, lengths)
    return [
        LengthSlice(int(own.min()), int(own.max()), int(hits[part == place].sum()), len(own))
        for place in range(len(limits))
        for own in [lengths[part == place]]
    ]
