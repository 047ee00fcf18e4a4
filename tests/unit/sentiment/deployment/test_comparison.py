"""What a model lost: by hand, and over texts that are drawn the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from sentiment.data.vocabulary import SPECIALS, Vocabulary
from sentiment.deployment.comparison import Comparison, compare, drawn_texts

BEFORE = np.array([[0.9, 0.1], [0.4, 0.6], [1.0, 0.0]], dtype=np.float32)
AFTER = np.array([[0.8, 0.2], [0.55, 0.45], [1.0, 0.0]], dtype=np.float32)


def test_difference_and_accuracies():
    found = compare(BEFORE, AFTER, np.array([0, 1, 1]))
    assert found == Comparison(3, pytest.approx(0.15), pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert compare(BEFORE, AFTER) == Comparison(3, pytest.approx(0.15))


def test_texts_are_of_the_vocabulary_and_the_same_each_time():
    vocabulary = Vocabulary((*SPECIALS, *(f"word{n}" for n in range(50))))
    texts = drawn_texts(vocabulary, 40)
    assert texts == drawn_texts(vocabulary, 40)
    words = [word for text in texts for word in text.split()]
    assert set(words) <= set(vocabulary.itos[2:])
    assert words.count("word0") > 5 * words.count("word40")
    lengths = [len(text.split()) for text in texts]
    assert min(lengths) < 60 and 400 < max(lengths) <= 600
    assert set(drawn_texts(Vocabulary(SPECIALS), 3)[0].split()) == {"<unk>"}
