"""Ids follow torchtext's rules, and words survive being written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment.data.vocabulary import Vocabulary, build_vocabulary, read_words, write_words

WORDS = ("the", ",", "film", "a", "great")
COUNTS = np.array([9, 7, 3, 2, 2])


def test_ids_are_ranks_plus_two() -> None:
    vocabulary = build_vocabulary(WORDS, COUNTS, size=25_000, min_count=1)
    assert vocabulary.itos == ("<unk>", "<pad>", *WORDS)
    assert vocabulary.size == 5
    assert len(vocabulary) == 7
    assert vocabulary.stoi["the"] == 2


@pytest.mark.parametrize(
    ("size", "min_count", "known"), [(2, 1, 2), (5, 1, 5), (25_000, 3, 3), (1, 3, 1), (9, 10, 0)]
)
def test_size_and_minimum_count_cut_from_the_end(size: int, min_count: int, known: int) -> None:
    vocabulary = build_vocabulary(WORDS, COUNTS, size, min_count)
    assert vocabulary.itos[2:] == WORDS[:known]
    assert vocabulary.size == known


def test_encoding() -> None:
    vocabulary = build_vocabulary(WORDS, COUNTS, size=3, min_count=1)
    ids = vocabulary.encode(["the", "great", "film", "<pad>", "<unk>"])
    # "great" is cut off, and neither special word can be written into a text.
    assert ids.tolist() == [2, 0, 4, 0, 0]
    assert ids.dtype == np.int64
    assert vocabulary.encode([]).tolist() == [0]


def test_an_unsorted_list_of_words_is_refused() -> None:
    with pytest.raises(ValueError, match="not sorted"):
        build_vocabulary(("a", "great", "film"), np.array([2, 2, 3]), 10, 1)
    with pytest.raises(ValueError, match="not sorted"):
        build_vocabulary(("great", "a"), np.array([2, 2]), 10, 1)
    with pytest.raises(ValueError, match="starts with"):
        Vocabulary(("<pad>", "<unk>", "a"))


@given(st.lists(st.text(min_size=1), min_size=1), st.integers(1, 30), st.integers(1, 3))
def test_sorting_by_count_then_word_is_torchtexts_order(
    tokens: list[str], size: int, min_count: int
) -> None:
    counter = Counter(token for token in tokens if token not in ("<unk>", "<pad>"))
    words = sorted(counter, key=lambda word: (-counter[word], word))
    counts = np.array([counter[word] for word in words], dtype=np.int64)
    vocabulary = build_vocabulary(words, counts, size, min_count)
    assert vocabulary.size == min(size, sum(counts >= min_count))
    assert vocabulary.encode(words[: vocabulary.size]).tolist() == (
        list(range(2, len(vocabulary))) or [0]
    )


def test_words_survive_being_written(tmp_path: Path) -> None:
    # Two halves of a surrogate pair, side by side, are not the character that they would make.
    words = ("", "naïve", 'a"b\\', "\n\0\x1f", "\ud83d", "\ud83d\ude00", "\U0001f600", "�")
    write_words(tmp_path / "words.json", words)
    assert read_words(tmp_path / "words.json") == words
