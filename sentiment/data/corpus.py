"""Encoded splits as flat integer arrays, built once by all cores and cached.

Shapes: n texts, t tokens of all texts together.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sentiment.config import TextConfig, fingerprint
from sentiment.data.tokenizer import tokenizer
from sentiment.data.vocabulary import SPECIALS, read_words, write_words
from sentiment.io.cache import cached
from sentiment.io.processes import available_cores, in_processes
from sentiment.wording import counted

if TYPE_CHECKING:
    from sentiment.data.datasets import DataConfig, Dataset

UNKNOWN = -1

# Part of the fingerprint: raise it when the files or their meaning change.
_FORMAT = 2
_CHUNK_CHARACTERS = 1_000_000
# With less text than this, starting processes takes longer than they save.
_SMALL_CHARACTERS = 4_000_000


@dataclass(frozen=True)
class EncodedSplit:
    """A split's texts, one after the other, as ranks in the corpus's words.

    Attributes:
        tokens: int32 (t,), the rank of each token's word, -1 for a word that has none.
        offsets: int64 (n + 1,); text i is `tokens[offsets[i]:offsets[i + 1]]`, never empty.
        labels: int64 (n,), or empty where the split has none.
        groups: int64 (n,), a number for each group of texts that belong together, such as those on
            one film, and one for each text of no group; None where the data set has no groups.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True)
class Corpus:
    """All splits of a data set under one way to tokenise.

    The texts are whole and every word type of train has a rank, so that one corpus serves
    models of any vocabulary size and length. Where the user gave unlabelled texts, or took labels
    away (`Dataset.word_splits`), the word types of unsup have ranks too, by the counts in both:
    few labelled texts have few words. The unlabelled reviews that `imdb` brings by itself add none.

    Attributes:
        words: word types of `word_splits`, commonest first, ties alphabetical.
        counts: int64 (len(words),), how often each occurs there.
        splits: by name: train, valid, test, and unsup where the data set has it.
        label_names: names of the classes by label.
        dataset: name of the data set.
        dataset_fingerprint: fingerprint of its texts, labels and splits.
        data: where it was loaded from, if it is known.
        word_splits: splits whose word types are ranked.
    """

    words: tuple[str, ...]
    counts: np.ndarray
    splits: dict[str, EncodedSplit]
    label_names: tuple[str, ...]
    dataset: str
    dataset_fingerprint: str
    data: DataConfig | None = None
    word_splits: tuple[str, ...] = ("train",)


def text_key(text: TextConfig) -> str:
    """Return the fingerprint of those settings that change the tokens of a text."""
    settings = text.model_dump(include={"tokenizer", "language", "lowercase", "strip_markup"})
    if text.tokenizer == "spacy":
        settings["spacy"] = version("spacy")
    return fingerprint(settings)


def load_corpus(
    dataset: Dataset,
    text: TextConfig,
    workers: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Corpus:
    """Return the encoded data set, from the cache or tokenised now.

    Args:
        dataset: texts, labels and splits.
        text: only what changes the tokens counts here, see `text_key`.
        workers: processes that tokenise; None: one a core.
        progress: called with a line on what is being done.
    """
    key = fingerprint([_FORMAT, dataset.fingerprint, text_key(text)])

    def build(folder: Path) -> None:
        _build(folder, dataset, text, workers or available_cores(), progress)

    folder = cached("corpus", key, build)
    groups = _group_numbers(dataset)
    return Corpus(
        words=read_words(folder / "words.json"),
        counts=np.load(folder / "counts.npy", allow_pickle=False),
        splits={
            name: EncodedSplit(
                tokens=np.load(folder / f"{name}.tokens.npy", allow_pickle=False),
                offsets=np.load(folder / f"{name}.offsets.npy", allow_pickle=False),
                labels=split.labels,
                groups=groups[name],
            )
            for name, split in dataset.splits.items()
        },
        label_names=dataset.label_names,
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint,
        data=dataset.config,
        word_splits=dataset.word_splits,
    )


def _group_numbers(dataset: Dataset) -> dict[str, np.ndarray | None]:
    """Return the `groups` of each split; a group has the same number in all of them."""
    numbers: defaultdict[object, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    return {
        name: None
        if split.groups is None
        else np.array(
            [
                numbers[(name, row) if group is None else group]
                for row, group in enumerate(split.groups)
            ],
            dtype=np.int64,
        )
        for name, split in dataset.splits.items()
    }


def unlabelled_texts(corpus: Corpus) -> EncodedSplit:
    """Return the texts of train and, where there are some, of unsup; all labels are 0."""
    splits = [corpus.splits[name] for name in ("train", "unsup") if name in corpus.splits]
    ends, tokens = [np.zeros(1, np.int64)], 0
    for split in splits:
        ends.append(split.offsets[1:] + tokens)
        tokens += int(split.offsets[-1])
    offsets = np.concatenate(ends)
    return EncodedSplit(
        np.concatenate([split.tokens for split in splits]),
        offsets,
        np.zeros(len(offsets) - 1, np.int64),
    )


@dataclass(frozen=True)
class _Chunk:
    """Some texts of one split, encoded by a worker with its own numbering.

    Attributes:
        types: the word types by local number.
        tokens: int32 (t,), local numbers; -1 for a text without a token.
        lengths: int64 (n,), tokens of each text.
    """

    types: list[str]
    tokens: np.ndarray
    lengths: np.ndarray


# A tokenizer remembers what it has seen, so a worker keeps it from chunk to chunk.
_tokenizer = lru_cache(maxsize=1)(tokenizer)


def _encode(texts: Sequence[str], text: TextConfig) -> _Chunk:
    tokenize = _tokenizer(text)
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    tokens = array("i")
    lengths = array("q")
    for content in texts:
        before = len(tokens)
        tokens.extend(map(numbers.__getitem__, tokenize(content)))
        if len(tokens) == before:
            tokens.append(UNKNOWN)
        lengths.append(len(tokens) - before)
    return _Chunk(
        list(numbers), np.array(tokens, dtype=np.int32), np.array(lengths, dtype=np.int64)
    )


def _build(
    folder: Path,
    dataset: Dataset,
    text: TextConfig,
    workers: int,
    progress: Callable[[str], None] | None,
) -> None:
    owners: list[str] = []
    tasks: list[tuple[Sequence[str], TextConfig]] = []
    for name, split in dataset.splits.items():
        for texts in _chunks(split.texts):
            owners.append(name)
            tasks.append((texts, text))
    if sum(len(content) for texts, _ in tasks for content in texts) < _SMALL_CHARACTERS:
        workers = 1
    if progress:
        total = sum(len(texts) for texts, _ in tasks)
        progress(f"tokenizing {counted(total, 'text')} on {counted(workers, 'core')}")
    if workers > 1:
        encoded = dict(in_processes(_encode, tasks, workers))
        chunks: list[_Chunk] = [encoded[index] for index in range(len(tasks))]
    else:
        chunks = [_encode(*task) for task in tasks]

    types: dict[str, int] = {}
    tokens: dict[str, list[np.ndarray]] = {name: [] for name in dataset.splits}
    lengths: dict[str, list[np.ndarray]] = {name: [] for name in dataset.splits}
    for name, chunk in zip(owners, chunks, strict=True):
        numbers = [types.setdefault(word, len(types)) for word in chunk.types]
        # The last entry is what -1, a text without a token, picks.
        tokens[name].append(np.array([*numbers, UNKNOWN], dtype=np.int32)[chunk.tokens])
        lengths[name].append(chunk.lengths)

    counted_in = [chunk for name in dataset.word_splits for chunk in tokens[name]]
    words, counts, ranks = _rank(list(types), _joined(counted_in, np.int32))
    write_words(folder / "words.json", words)
    np.save(folder / "counts.npy", counts)
    for name in dataset.splits:
        np.save(folder / f"{name}.tokens.npy", ranks[_joined(tokens[name], np.int32)])
        offsets = np.concatenate([[0], np.cumsum(_joined(lengths[name], np.int64))])
        np.save(folder / f"{name}.offsets.npy", offsets.astype(np.int64))


def _rank(types: list[str], tokens: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Sort the types of some tokens as torchtext does: by count, ties alphabetical.

    Returns:
        The words by rank, their counts, and int32 (len(types) + 1,) the rank of each type,
        -1 for one that is not among the tokens and, as the last entry, for no type at all.
    """
    counts = np.bincount(tokens[tokens != UNKNOWN], minlength=len(types))
    seen = [i for i in np.flatnonzero(counts).tolist() if types[i] not in SPECIALS]
    by_count = counts.tolist()
    seen.sort(key=lambda i: (-by_count[i], types[i]))
    ranks = np.full(len(types) + 1, UNKNOWN, dtype=np.int32)
    ranks[seen] = np.arange(len(seen), dtype=np.int32)
    return [types[i] for i in seen], counts[seen].astype(np.int64), ranks


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut texts into runs of about equal work."""
    start = size = 0
    for end, text in enumerate(texts, start=1):
        size += len(text)
        if size >= _CHUNK_CHARACTERS or end == len(texts):
            yield texts[start:end]
            start, size = end, 0


def _joined(arrays: list[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)
