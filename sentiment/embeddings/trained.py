"""Word vectors trained by gensim on the texts of the data set itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sentiment.config import fingerprint
from sentiment.data.corpus import UNKNOWN, Corpus, EncodedSplit
from sentiment.errors import InputError
from sentiment.io.cache import cached, is_cached

Kind = Literal["word2vec", "fasttext"]

# Part of the fingerprint: raise it when training or the files change in another way than by
# the settings below.
_FORMAT = 2
_MIN_COUNT = 2

# Chosen by the validation accuracy of a linear model on mean vectors, under a bound on time.
# On imdb-25k at 100 dimensions, of one core: word2vec 34 s, 0.874; fasttext 51 s, 0.874.
# (GloVe 6B 50d by the same measure: 0.769.)
_SETTINGS: dict[Kind, dict[str, Any]] = {
    "word2vec": {"sg": 0, "window": 10, "negative": 5, "sample": 3e-5, "alpha": 0.05},
    "fasttext": {
        "sg": 1,
        "window": 8,
        "negative": 5,
        "sample": 3e-5,
        "alpha": 0.05,
        "min_n": 4,
        "max_n": 5,
        "bucket": 200_000,
    },
}
# As many passes as make about that many tokens: short texts need more of them.
_TOKENS: dict[Kind, int] = {"word2vec": 47_000_000, "fasttext": 14_000_000}
_FEWEST_EPOCHS, _MOST_EPOCHS = 2, 50


@dataclass(frozen=True)
class InDomain:
    """Vectors of one kind and size for the words of one corpus.

    They are trained on train and, where the data set has it, unsup, by one thread: the same
    seed gives the same vectors, and two kinds can be trained side by side on two cores.

    Attributes:
        kind: word2vec has vectors for words seen twice or more; fasttext composes those of
            the others of their character n-grams.
        dim: size of a vector, d.
        corpus: the texts.
        text_key: fingerprint of the settings that the texts were tokenized with.
        seed: of the first weights and of what is drawn.
    """

    kind: Kind
    dim: int
    corpus: Corpus
    text_key: str
    seed: int

    def __post_init__(self) -> None:
        if not (self.corpus.counts >= _MIN_COUNT).any():
            raise InputError(
                f"embedding={self.kind}: {self.corpus.dataset} has too few texts to train it on, "
                "no word stands in them twice; take embedding=glove or random"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """The settings for gensim."""
        tokens = sum(len(split.tokens) for split in _splits(self.corpus))
        epochs = min(max(round(_TOKENS[self.kind] / tokens), _FEWEST_EPOCHS), _MOST_EPOCHS)
        return {**_SETTINGS[self.kind], "min_count": _MIN_COUNT, "epochs": epochs}

    @property
    def fingerprint(self) -> str:
        """Hexadecimal sha256 over all that the vectors depend on."""
        return fingerprint(
            {
                "format": _FORMAT,
                "dataset": self.corpus.dataset_fingerprint,
                "text": self.text_key,
                "dim": self.dim,
                "settings": self.settings,
                "seed": self.seed,
                "gensim": version("gensim"),
            }
        )

    def is_built(self) -> bool:
        """Whether the cache has the vectors."""
        return is_cached(self.kind, self.fingerprint)

    def build(self) -> Path:
        """Train the vectors unless the cache has them; return its folder of them."""

        def build(folder: Path) -> None:
            vectors, found = _train(self, folder)
            np.save(folder / "vectors.npy", vectors)
            np.save(folder / "found.npy", found)

        return cached(self.kind, self.fingerprint, build)

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """Return float32 (v, d) vectors, zero where there is none, and bool (v,): found."""
        folder = self.build()
        return (
            np.load(folder / "vectors.npy", allow_pickle=False),
            np.load(folder / "found.npy", allow_pickle=False),
        )


def _train(task: InDomain, scratch: Path) -> tuple[np.ndarray, np.ndarray]:
    from gensim.models import FastText, Word2Vec

    names = _names(task)
    # gensim reads a file several times as fast as it takes lists from Python.
    path = scratch / "texts.txt"
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in _lines(task, names))
    kind = FastText if task.kind == "fasttext" else Word2Vec
    model = kind(
        corpus_file=str(path), vector_size=task.dim, workers=1, seed=task.seed, **task.settings
    )
    path.unlink()
    found = np.array([name in model.wv.key_to_index for name in names])
    if task.kind == "fasttext":
        # A rare word is composed, if it and the marks of its begin and end make one n-gram.
        found |= np.array([len(name) + 2 >= task.settings["min_n"] for name in names])
    vectors = np.zeros((len(names), task.dim), dtype=np.float32)
    for rank in np.flatnonzero(found):
        vectors[rank] = model.wv[names[rank]]
    return vectors, found


def _names(task: InDomain) -> list[str]:
    """Return the token written for each word to the file, which must not contain white space."""
    if task.kind == "fasttext":  # looks at the characters
        return [re.sub(r"\s", "_", word) for word in task.corpus.words]
    return [str(rank) for rank in range(len(task.corpus.words))]


def _lines(task: InDomain, names: list[str]) -> Iterator[str]:
    """Yield the texts in random order: many data sets are sorted by label."""
    texts = [
        split.tokens[start:end]
        for split in _splits(task.corpus)
        for start, end in zip(split.offsets[:-1], split.offsets[1:], strict=True)
    ]
    for index in np.random.default_rng(task.seed).permutation(len(texts)):
        yield " ".join([names[rank] for rank in texts[index].tolist() if rank != UNKNOWN])


def _splits(corpus: Corpus) -> list[EncodedSplit]:
    return [corpus.splits[name] for name in ("train", "unsup") if name in corpus.splits]
