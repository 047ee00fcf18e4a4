"""Exact n-gram tables: which n-grams of train a text holds.

An n-gram's key is the index of its first n - 1 words among the shorter n-grams and the rank of
its last word, so no two n-grams share a key, whatever their length, and no hash is involved.

Shapes: n texts, t tokens of all texts together, G n-grams of all lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from sentiment.data.corpus import UNKNOWN, EncodedSplit

FEW_PAIRS = 100_000
"""Occurrences of n-grams up to which sorting takes less than the import of pandas."""


@dataclass(frozen=True)
class NgramTable:
    """The n-grams that a model has weights for.

    Attributes:
        vocabulary_size: words of the vocabulary; a rank from there on is unknown and in no n-gram.
        keys: for each length from 1 on, int64, strictly increasing: the ranks of the single
            words, then `prefix * vocabulary_size + rank`, where `prefix` is the index of an
            n-gram's first n - 1 words among the keys of that length.
    """

    vocabulary_size: int
    keys: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return sum(map(len, self.keys))

    def features(self, split: EncodedSplit) -> sparse.csr_array:
        """Return which n-grams each text holds: float64 ones, (n, G).

        The columns are the single words in the order of their keys, then the pairs, and so on.
        """
        encoded = _Tokens.of(split, self.vocabulary_size)
        texts, columns = [], []
        for _, places, held in self._occurrences(encoded):
            own_texts, own_columns = _once_a_text(encoded.text[places], held)
            texts.append(own_texts)
            columns.append(own_columns)
        return _presence(texts, columns, (len(split), len(self)))

    def occurrences(self, split: EncodedSplit) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield for each length where its n-grams stand: the length, places and columns.

        The places, int64 (o,), are those of the first words among the tokens of the split; the
        columns, int64 (o,), those of `features`. An n-gram that a text holds twice is there twice.
        """
        yield from self._occurrences(_Tokens.of(split, self.vocabulary_size))

    def _occurrences(self, encoded: _Tokens) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        found, first = np.full(len(encoded.ranks), UNKNOWN, dtype=np.int64), 0
        for length, keys in enumerate(self.keys, start=1):
            places, wanted = encoded.keys(length, found)
            index = np.searchsorted(keys, wanted)
            index[index == len(keys)] = 0
            held = keys[index] == wanted if len(keys) else np.zeros(len(wanted), dtype=bool)
            found = np.full(len(encoded.ranks), UNKNOWN, dtype=np.int64)
            found[places[held]] = index[held]
            yield length, places[held], index[held] + first
            first += len(keys)

    def ngram(self, column: int) -> tuple[int, ...]:
        """Return the ranks of the words of the n-gram in a column."""
        length = 0
        while column >= len(self.keys[length]):
            column -= len(self.keys[length])
            length += 1
        ranks: list[int] = []
        for keys in reversed(self.keys[: length + 1]):
            column, rank = divmod(int(keys[column]), self.vocabulary_size)
            ranks.append(rank)
        return tuple(reversed(ranks))

    def ngrams(self) -> Iterator[tuple[int, ...]]:
        """Yield the ranks of each n-gram's words, in the order of the columns."""
        before: list[tuple[int, ...]] = [()]
        for keys in self.keys:
            prefixes, ranks = np.divmod(keys, self.vocabulary_size)
            before = [
                (*before[prefix], rank)
                for prefix, rank in zip(prefixes.tolist(), ranks.tolist(), strict=True)
            ]
            yield from before


def count_ngrams(
    split: EncodedSplit, longest: int, min_count: int, vocabulary_size: int
) -> tuple[NgramTable, sparse.csr_array]:
    """Find the n-grams of a split that enough texts hold.

    Args:
        split: the texts, usually train.
        longest: words of the longest n-grams, at least 1.
        min_count: texts that must hold an n-gram, at least 1.
        vocabulary_size: words of the vocabulary.

    Returns:
        The table, and its features of the split, as `NgramTable.features` would.
    """
    import pandas as pd

    encoded = _Tokens.of(split, vocabulary_size)
    found = np.full(len(encoded.ranks), UNKNOWN, dtype=np.int64)
    kept, texts, columns, first = [], [], [], 0
    for length in range(1, longest + 1):
        places, wanted = encoded.keys(length, found)
        codes, different = pd.factorize(wanted)
        own_texts, own_codes = _once_a_text(encoded.text[places], codes)
        frequent = np.bincount(own_codes, minlength=len(different)) >= min_count
        keys = np.sort(different[frequent])
        # From an n-gram's code to its place in the table; -1 for those that are too rare.
        place = np.full(len(different), UNKNOWN, dtype=np.int64)
        place[frequent] = np.searchsorted(keys, different[frequent])
        held = frequent[codes]
        found = np.full(len(encoded.ranks), UNKNOWN, dtype=np.int64)
        found[places[held]] = place[codes[held]]
        held = frequent[own_codes]
        texts.append(own_texts[held])
        columns.append(place[own_codes[held]] + first)
        kept.append(keys)
        first += len(keys)
    return NgramTable(vocabulary_size, tuple(kept)), _presence(texts, columns, (len(split), first))


@dataclass(frozen=True)
class _Tokens:
    """A split's tokens under a vocabulary.

    Attributes:
        ranks: int64 (t,), -1 for an unknown word.
        text: int64 (t,), the text of each token.
        vocabulary_size: words of the vocabulary.
    """

    ranks: np.ndarray
    text: np.ndarray
    vocabulary_size: int

    @classmethod
    def of(cls, split: EncodedSplit, vocabulary_size: int) -> _Tokens:
        ranks = split.tokens.astype(np.int64)
        text = np.repeat(np.arange(len(split)), np.diff(split.offsets))
        return cls(np.where(ranks < vocabulary_size, ranks, UNKNOWN), text, vocabulary_size)

    def keys(self, length: int, prefixes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where n-grams of a length start whose first n - 1 words are known, and their keys.

        Args:
            length: words of the n-grams.
            prefixes: int64 (t,), the index of the n-gram one word shorter that starts at each
                token, -1 where there is none; not read for single words.
        """
        if length == 1:
            places = np.flatnonzero(self.ranks != UNKNOWN)
            return places, self.ranks[places]
        last = length - 1
        start = prefixes[: len(prefixes) - last] if last < len(prefixes) else prefixes[:0]
        inside = self.text[: len(start)] == self.text[last : last + len(start)]
        word = self.ranks[last : last + len(start)]
        places = np.flatnonzero((start != UNKNOWN) & (word != UNKNOWN) & inside)
        return places, start[places] * self.vocabulary_size + word[places]


def _once_a_text(texts: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each pair of a text and an n-gram once."""
    width = int(columns.max(initial=0)) + 1
    pairs = texts * width + columns
    if len(pairs) <= FEW_PAIRS:
        return np.divmod(np.unique(pairs), width)

    import pandas as pd

    return np.divmod(pd.unique(pairs), width)


def _presence(
    texts: Sequence[np.ndarray], columns: Sequence[np.ndarray], shape: tuple[int, int]
) -> sparse.csr_array:
    rows, places = np.concatenate(texts), np.concatenate(columns)
    order = np.lexsort((places, rows))
    starts = np.searchsorted(rows[order], np.arange(shape[0] + 1))
    ones = np.ones(len(order))
    return sparse.csr_array((ones, places[order].astype(np.int32), starts), shape=shape)
