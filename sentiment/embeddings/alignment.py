"""Alignment of a table of vectors with the words of a corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sentiment.embeddings.vector_table import VectorTable


def align(
    table: VectorTable, words: Sequence[str], lower_case_backup: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Look up the vectors of words.

    Args:
        table: what to look in.
        words: what to look for.
        lower_case_backup: a word that is not there gets what its lower-case form has, as in
            torchtext's `Vectors.get_vecs_by_tokens`.

    Returns:
        float32 (v, d) vectors, zero where there is none, and bool (v,), which were found.
    """
    backups = [word.lower() for word in words] if lower_case_backup else words
    wanted = {*words, *backups}
    known: dict[str, int] = {}
    for row, word in enumerate(table.words):
        if word in wanted:
            known.setdefault(word, row)
    rows: dict[int, int] = {}
    for rank, (word, backup) in enumerate(zip(words, backups, strict=True)):
        found = known.get(word, known.get(backup))
        if found is not None:
            rows[rank] = found
    return _gather(table, rows, len(words))


def align_ngrams(table: VectorTable, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Compose words of character n-grams, as `align` would return them.

    A word's vector is the mean of those of its 2-, 3- and 4-grams, its begin and end counted
    as characters (Hashimoto et al., 2016, "A Joint Many-Task Model").
    """
    numbers = {word: row for row, word in reversed(list(enumerate(table.words)))}
    vectors = np.zeros((len(words), table.vectors.shape[1]), dtype=np.float32)
    found = np.zeros(len(words), dtype=bool)
    for rank, word in enumerate(words):
        characters = ["#BEGIN#", *word, "#END#"]
        grams = (
            f"{n}gram-{''.join(characters[start : start + n])}"
            for n in (2, 3, 4)
            for start in range(len(characters) - n + 1)
        )
        rows = [numbers[gram] for gram in grams if gram in numbers]
        if rows:
            vectors[rank] = table.vectors[rows].mean(axis=0)
            found[rank] = True
    return vectors, found


def _gather(
    table: VectorTable, rows: Mapping[int, int], count: int
) -> tuple[np.ndarray, np.ndarray]:
    ranks = np.fromiter(rows.keys(), dtype=np.int64, count=len(rows))
    picked = np.fromiter(rows.values(), dtype=np.int64, count=len(rows))
    vectors = np.zeros((count, table.vectors.shape[1]), dtype=np.float32)
    vectors[ranks] = table.vectors[picked]
    found = np.zeros(count, dtype=bool)
    found[ranks] = True
    return vectors, found
