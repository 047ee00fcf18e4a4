"""Table of word vectors on disk: the words, and float32 vectors that are mapped, not read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from sentiment.data.vocabulary import read_words, write_words

TABLE_VERSION = 1
"""Part of a table's cache key: raise it when the converted files or their meaning change."""

_BLOCK_ROWS = 4_096

Row = tuple[str, np.ndarray]
"""A word and its vector, (d,)."""


@dataclass(frozen=True)
class VectorTable:
    """All vectors of a source.

    Attributes:
        words: a word may be repeated; the first counts.
        vectors: float32 (len(words), d), mapped from disk where it is large.
    """

    words: Sequence[str]
    vectors: np.ndarray


def write_table(rows: Iterable[Row], folder: Path) -> None:
    """Write a table of at least one row into a folder.

    Rows are written as they come, since the largest tables don't fit into memory.
    """
    words: list[str] = []
    block: list[np.ndarray] = []
    with (folder / "vectors.npy").open("wb") as file:
        for word, vector in rows:
            if not words:
                _write_header(file, 0, len(vector))
            words.append(word)
            block.append(vector)
            if len(block) == _BLOCK_ROWS:
                _write_rows(file, block)
                block.clear()
        _write_rows(file, block)
        file.seek(0)
        _write_header(file, len(words), len(vector))
    write_words(folder / "words.json", words)


def read_table(folder: Path) -> VectorTable:
    """Open the table in a folder; its vectors are mapped from disk."""
    vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
    return VectorTable(read_words(folder / "words.json"), vectors)


def _write_rows(file: IO[bytes], rows: Sequence[np.ndarray]) -> None:
    file.write(b"".join(row.astype("<f4").tobytes() for row in rows))


def _write_header(file: IO[bytes], rows: int, dim: int) -> None:
    """Write the header of an .npy file; numpy leaves room in it for any number of rows."""
    header: dict[str, Any] = {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)}
    np.lib.format.write_array_header_1_0(file, header)
