"""Sources of word vectors: packaged, downloaded, from a file, or trained on the texts.

Shapes: v words of the corpus, d dimensions, k words that a model knows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np

from sentiment.config import Config, ModelConfig, TextConfig, unknown_name
from sentiment.data.corpus import Corpus, text_key
from sentiment.embeddings.alignment import align, align_ngrams
from sentiment.embeddings.catalog import DOWNLOADS, load_file, load_named, packaged_glove
from sentiment.embeddings.trained import InDomain, Kind
from sentiment.errors import InputError
from sentiment.io.processes import available_cores, in_processes

if TYPE_CHECKING:
    import torch

TRAINED: tuple[Kind, ...] = get_args(Kind)
"""The sources that are trained on the texts."""

SOURCES = ("random", "glove", *TRAINED, *DOWNLOADS)
"""All sources that have a name; any other is a file."""

_FILE_SUFFIXES = (".txt", ".vec", ".bin", ".gz")
_SEED = 1234


class VectorSpec(NamedTuple):
    """Which word vectors a model starts from.

    Attributes:
        source: one of `SOURCES`, or a file.
        dim: size of vectors that are trained; 0 for sources that bring their own.
        lower_case_backup: whether such sources are asked for a word's lower-case form too.
    """

    source: str
    dim: int
    lower_case_backup: bool = False

    @classmethod
    def of_config(cls, config: Config) -> VectorSpec:
        """Return what settings ask for; with pretraining that is nothing: it brings the vectors.

        Raises:
            InputError: there is no such source.
        """
        if config.training.pretraining != "none":
            return cls("random", 0)
        return cls.of(config.model)

    @classmethod
    def of(cls, model: ModelConfig) -> VectorSpec:
        """Return what the settings of a model ask for.

        Raises:
            InputError: there is no such source.
        """
        source = model.embedding
        if source in SOURCES:
            if source in TRAINED:
                return cls(source, model.embedding_dim)
            return cls(source, 0, source != "random" and model.lower_case_backup)
        path = Path(source)
        if not path.is_file():
            if os.sep in source or path.suffix in _FILE_SUFFIXES or path.exists():
                raise InputError(f"embedding={source}: there is no such file")
            problem = unknown_name("embedding", source, SOURCES)
            raise InputError(f"embedding={source}: {problem}; a file is given by its path")
        return cls(source, 0, model.lower_case_backup)


@dataclass(frozen=True)
class WordVectors:
    """Vectors for the words of a corpus.

    Attributes:
        vectors: float32 (v, d), rows in the order of the corpus's words, zero if not found.
        found: bool (v,), which words the source has.
        source: name of the source.
    """

    vectors: np.ndarray
    found: np.ndarray
    source: str

    @property
    def dim(self) -> int:
        """Size of a vector."""
        return int(self.vectors.shape[1])


def load_vectors(
    model: ModelConfig,
    corpus: Corpus,
    text: TextConfig,
    progress: Callable[[str], None] | None = None,
    seed: int = _SEED,
) -> WordVectors | None:
    """Return the vectors that a model starts from, None if they are drawn at random.

    Args:
        model: names the source.
        corpus: its words get the vectors.
        text: the settings that the corpus was tokenized with.
        progress: called with a line on what is being done.
        seed: for sources that are trained; not that of the model, so that models of several
            seeds share the vectors.

    Raises:
        InputError: there is no such source, or it can't be had, or is not as it should be.
    """
    spec = VectorSpec.of(model)
    return load_many([spec], corpus, text, progress, seed)[spec]


def load_many(
    specs: Iterable[VectorSpec],
    corpus: Corpus,
    text: TextConfig,
    progress: Callable[[str], None] | None = None,
    seed: int = _SEED,
) -> dict[VectorSpec, WordVectors | None]:
    """Return several sources' vectors; those that are trained are trained side by side.

    Arguments and errors are those of `load_vectors`.
    """
    wanted = sorted(set(specs))
    vectors = {
        spec: _pretrained(spec, corpus, progress) for spec in wanted if spec.source not in TRAINED
    }
    key = text_key(text)
    trained = {
        spec: InDomain(kind, spec.dim, corpus, key, seed)
        for spec in wanted
        for kind in TRAINED
        if spec.source == kind
    }
    missing = [task for task in trained.values() if not task.is_built()]
    if progress and missing:
        kinds = " and ".join(f"{task.kind} {task.dim}d" for task in missing)
        progress(f"training {kinds} on the texts of {corpus.dataset}")
    if len(missing) > 1:
        for _ in in_processes(InDomain.build, [(task,) for task in missing], available_cores()):
            pass
    for spec, task in trained.items():
        vectors[spec] = WordVectors(*task.load(), spec.source)
    return vectors


def _pretrained(
    spec: VectorSpec, corpus: Corpus, progress: Callable[[str], None] | None
) -> WordVectors | None:
    source = spec.source
    if source == "random":
        return None
    if source == "glove":
        table = packaged_glove()
    elif source in DOWNLOADS:
        table = load_named(source, progress)
    else:
        table = load_file(Path(source), progress)
    if source.startswith("charngram."):
        return WordVectors(*align_ngrams(table, corpus.words), source)
    return WordVectors(*align(table, corpus.words, spec.lower_case_backup), source)


def embedding_matrix(
    vectors: WordVectors | None,
    known: int,
    dim: int,
    init_std: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return the first weights of an embedding layer, float32 (known + 2, d).

    Words without a vector are drawn from N(0, init_std). The row of `<pad>` is zero, and so is
    that of `<unk>`, except when all vectors are drawn.

    Args:
        vectors: of the corpus's words; None: all are drawn.
        known: words of the vocabulary, the special ones not counted.
        dim: d where `vectors` is None; else the vectors' own size counts.
        init_std: standard deviation of what is drawn.
        generator: source of the drawn numbers.
    """
    import torch

    from sentiment.data.vocabulary import PAD_ID, SPECIALS

    size = dim if vectors is None else vectors.dim
    matrix = torch.randn(known + len(SPECIALS), size, generator=generator) * init_std
    matrix[PAD_ID] = 0
    if vectors is not None:
        matrix[: len(SPECIALS)] = 0
        found = torch.from_numpy(np.flatnonzero(vectors.found[:known]))
        matrix[found + len(SPECIALS)] = torch.from_numpy(
            np.ascontiguousarray(vectors.vectors[:known][vectors.found[:known]])
        )
    return matrix


def coverage(vectors: WordVectors | None, known: int) -> float:
    """Return the share of a vocabulary's words that have a vector, from 0 to 1."""
    if vectors is None or known == 0:
        return 0.0
    return float(vectors.found[:known].mean())
