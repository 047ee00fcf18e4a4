"""Formats of files of word vectors: word2vec's and GloVe's text, word2vec's binary, archives."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, cast

import numpy as np

from sentiment.embeddings.vector_table import Row
from sentiment.errors import InputError
from sentiment.wording import counted


@contextmanager
def open_member(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    """Open a downloaded file, or the member of an archive, as a stream.

    Raises:
        InputError: the file is not the archive that was expected, or lacks the member.
    """
    try:
        if member is None:
            with path.open("rb") as file:
                yield file
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive, archive.open(member) as file:
                yield file
        else:
            with tarfile.open(path, "r:*") as tarball:
                for info in tarball:
                    if Path(info.name).name == member and (found := tarball.extractfile(info)):
                        yield found
                        return
            raise KeyError(member)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        reason = f"it lacks {member}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{path}: not the archive of vectors that was expected ({reason}); remove it"
        ) from error


def open_text(path: Path) -> IO[bytes]:
    """Open a text file, decompressed if it is a `.gz`."""
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def read_text(
    lines: Iterable[bytes], where: str, dim: int | None = None, trusted: bool = False
) -> Iterator[Row]:
    """Yield the words and vectors of word2vec's or GloVe's text format.

    Args:
        lines: the file's lines.
        where: its name, for messages.
        dim: size of a vector; None: as the first line says.
        trusted: the file is as published, so that a word that is not UTF-8 is passed over.

    Raises:
        InputError: a line is wrong, or there are more or fewer vectors than the first one says.
    """
    numbered: Iterator[tuple[int, bytes]] = enumerate(_intact_lines(lines, where), start=1)
    number, first = next(numbered, (1, b""))
    header = first.split()
    count = None
    if len(header) == 2 and all(part.isdigit() for part in header):
        count, dim = int(header[0]), int(header[1])
    else:
        dim = dim or len(header) - 1
        numbered = chain([(number, first)], numbered)
    if dim < 1:
        raise InputError(f"{where}, line 1: a word and its numbers are needed")
    rows = 0
    for number, line in numbered:
        rows += 1
        try:
            word, vector = _parse(line, dim)
            yield word.decode("utf-8"), vector
        except UnicodeDecodeError:
            if not trusted:
                raise InputError(f"{where}, line {number}: the word is not UTF-8") from None
        except ValueError as error:
            raise InputError(f"{where}, line {number}: {error}") from None
    if rows == 0:
        raise InputError(f"{where}: there is no vector in it")
    if count is not None and rows != count:
        raise InputError(f"{where}: line 1 promises {counted(count, 'vector')}, there are {rows:,}")


def read_binary(path: Path) -> Iterator[Row]:
    """Yield the words and vectors of word2vec's binary format.

    Raises:
        InputError: the file is in another format or empty, or a number is not finite.
    """
    from gensim.models import KeyedVectors

    try:
        vectors = KeyedVectors.load_word2vec_format(str(path), binary=True)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: not in word2vec's binary format ({error})") from error
    if len(vectors) == 0:
        raise InputError(f"{path}: there is no vector in it")
    for word, vector in zip(vectors.index_to_key, vectors.vectors, strict=True):
        if not np.isfinite(vector).all():
            raise InputError(f"{path}: a number of the word {word!r} is not finite")
        yield word, vector


def _parse(line: bytes, dim: int) -> tuple[bytes, np.ndarray]:
    """Split a line from its end, because words of published files hold spaces.

    Raises:
        ValueError: the numbers are not `dim` finite ones.
    """
    parts = line.rsplit(None, dim)
    if len(parts) == dim and line[:1].isspace():
        parts.insert(0, b"")  # published files hold even such a word
    if len(parts) != dim + 1:
        raise ValueError(f"{max(len(parts) - 1, 0)} numbers after the word, not {dim}")
    word, *numbers = parts
    try:
        with np.errstate(over="ignore"):  # becomes infinite, which is refused below
            vector = np.fromiter(map(float, numbers), dtype=np.float32, count=dim)
    except ValueError:
        raise ValueError(f"what follows the word is not {dim} numbers") from None
    if not np.isfinite(vector).all():
        raise ValueError("a number is not finite")
    return word, vector


def _intact_lines(lines: Iterable[bytes], where: str) -> Iterator[bytes]:
    iterator = iter(lines)
    number = 0
    while True:
        number += 1
        try:
            line = next(iterator, None)
        except (EOFError, gzip.BadGzipFile, zipfile.BadZipFile) as error:
            raise InputError(f"{where}, line {number}: {error}") from error
        if line is None:
            return
        yield line
