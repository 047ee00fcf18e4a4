"""N-gram tables against a plain enumeration of the texts' n-grams."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_corpus import split_of

from sentiment.data.corpus import EncodedSplit
from sentiment.ngrams.table import count_ngrams

KNOWN = 6


def split_from(texts):
    return EncodedSplit(
        np.array([rank for text in texts for rank in text], dtype=np.int32),
        np.cumsum([0, *map(len, texts)]).astype(np.int64),
        np.zeros(len(texts), dtype=np.int64),
    )


def enumerate_ngrams(text, longest):
    return {
        tuple(text[start : start + length])
        for length in range(1, longest + 1)
        for start in range(len(text) - length + 1)
        if all(0 <= rank < KNOWN for rank in text[start : start + length])
    }


TEXTS = st.lists(st.lists(st.integers(-1, 8), min_size=1, max_size=9), min_size=1, max_size=8)


@given(texts=TEXTS, others=TEXTS, longest=st.integers(1, 4), least=st.integers(1, 3))
def test_a_table_holds_what_enumeration_finds(texts, others, longest, least):
    table, features = count_ngrams(split_from(texts), longest, least, KNOWN)
    counts = Counter(each for text in texts for each in enumerate_ngrams(text, longest))
    frequent = {each for each, count in counts.items() if count >= least}
    columns = list(table.ngrams())
    assert [table.ngram(column) for column in range(len(table))] == columns
    assert len(columns) == len(table) == features.shape[1]
    assert set(columns) == frequent
    for given_texts, found in ((texts, features), (others, table.features(split_from(others)))):
        assert found.shape == (len(given_texts), len(columns))
        for row, text in enumerate(given_texts):
            held = {columns[column] for column in found[[row]].indices}
            assert held == enumerate_ngrams(text, longest) & frequent


@given(texts=TEXTS, others=TEXTS, longest=st.integers(1, 3))
def test_occurrences_are_all_places_of_the_ngrams(texts, others, longest):
    table, _ = count_ngrams(split_from(texts), longest, 1, KNOWN)
    columns = list(table.ngrams())
    split = split_from(others)
    found = [
        (int(place), columns[column])
        for length, places, held in table.occurrences(split)
        for place, column in zip(places, held, strict=True)
        if length == len(columns[column])
    ]
    first = split.offsets.tolist()
    expected = [
        (first[row] + start, tuple(text[start : start + length]))
        for row, text in enumerate(others)
        for length in range(1, longest + 1)
        for start in range(len(text) - length + 1)
    ]
    assert sorted(found) == sorted(each for each in expected if each[1] in columns)


def test_the_features_of_train_are_those_that_the_table_gives():
    split = split_of(200, 3)
    table, features = count_ngrams(split, 3, 2, 8)
    again = table.features(split)
    assert features.nnz > 0
    for name in ("indptr", "indices", "data"):
        assert np.array_equal(getattr(features, name), getattr(again, name)), name


@pytest.mark.parametrize("texts", [[[-1]], [[7, 8, -1]]])
def test_texts_of_unknown_words_hold_nothing(texts):
    table, features = count_ngrams(split_from(texts), 3, 1, KNOWN)
    assert len(table) == 0
    assert features.shape == (1, 0)


def test_a_pair_does_not_reach_into_the_next_text():
    table, _ = count_ngrams(split_from([[1, 2], [3, 4]]), 2, 1, KNOWN)
    assert set(table.ngrams()) == {(1,), (2,), (3,), (4,), (1, 2), (3, 4)}
