"""Texts without labels: those of `--unlabelled`, and those of train that `--label-share` leaves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sentiment.data.columns import RawTable
from sentiment.data.config import DataConfig, flag
from sentiment.data.readers import check_flags, read_source
from sentiment.data.sources import Source, common_name, find_sources
from sentiment.data.splits import Split, TextKey, text_lot, twin_key
from sentiment.data.tables import HALF, NO_TEXT, Account, check_counted
from sentiment.data.values import joined
from sentiment.errors import InputError
from sentiment.io.encodings import is_unicode
from sentiment.wording import counted

UNLABELLED = "unsup"
"""The split of texts without labels."""

_HELD = ("test", "valid", "train", UNLABELLED)
_PURPOSE = "labels"


def read_unlabelled(config: DataConfig) -> tuple[list[str], Account]:
    """Read the files of `config.unlabelled`: their texts, and what became of the rows.

    A row without a text is left out and counted: where no label is lost with it, it is no error.

    Raises:
        InputError: a file can't be read, has no column of texts or no text at all, or is named
            with a split.
    """
    assert config.unlabelled is not None
    option = flag("unlabelled")
    for column in config.text_column:
        if config.text_column.count(column) > 1:
            raise InputError(f"--text-column {column} is named twice; name it once")
    sources = find_sources(config.unlabelled, option)
    if any(source.split for source in sources):
        raise InputError(f"{option}: a file of texts without labels is in no split; leave out ':…'")
    if config.data is None:  # else it was checked with the files of --data
        check_flags(config, (), sources)
    account = Account(common_name(sources), _where(sources))
    texts: list[str] = []
    for source in sources:
        for path, raw in read_source(source, config, labelled=False):
            texts += _texts(path, raw, config, account)
    account.kept = len(texts)
    if not account.read:
        raise InputError(f"{option}: {account.where}: there are no rows")
    if not texts:
        raise InputError(f"{option}: {account.where}: there is no text; {account}")
    return texts, account


def _where(sources: Sequence[Source]) -> str:
    first, *others = sources
    return f"{first.path} and {len(others)} more" if others else str(first.path)


def _texts(path: Path, raw: RawTable, config: DataConfig, account: Account) -> list[str]:
    check_counted(path, raw)
    account.read += raw.counted
    account.form += raw.form
    texts = []
    columns = zip(*(raw.values[name] for name in config.text_column), strict=True)
    for number, parts in zip(raw.numbers, columns, strict=True):
        try:
            text = joined(parts)
        except ValueError as error:
            raise InputError(f"{path}, {raw.unit} {number}: {error}") from error
        if text is None:
            account.left_out[NO_TEXT] += 1
        elif not is_unicode(text):
            account.left_out[HALF] += 1
        else:
            texts.append(text)
    return texts


def with_unlabelled(
    splits: Mapping[str, Split],
    texts: Sequence[str],
    name: str,
    key: TextKey = twin_key,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Split]:
    """Return splits with further texts without labels, but for twins of texts that they have.

    Twins of valid and test would make known what is to be judged; those of train and of `unsup`
    are there already. A text that the files hold several times stays so, as it does in train.

    Args:
        splits: train, valid, test and perhaps unsup.
        texts: without labels.
        name: of their files, for messages.
        key: what twins have in common.
        progress: called with a line on what left.
    """
    added = unlabelled(texts)
    for held in _HELD:
        if held not in splits:
            continue
        left = added.without(splits[held], key)
        twins = len(added) - len(left)
        if twins and progress:
            stand = "it stands" if twins == 1 else "they stand"
            progress(f"{name}: {counted(twins, 'text')} left unsup, {stand} in {held}")
        added = left
    if not len(added):
        if progress:
            progress(f"{name}: no text is left that is in no other split")
        return dict(splits)
    return _joined(splits, added.texts)


def keep_labels(
    splits: Mapping[str, Split],
    share: float,
    name: str,
    key: TextKey = twin_key,
    seed: int = 1234,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Split]:
    """Return splits in which a share of train keeps its labels, and the rest is in `unsup`.

    Of each class the same share is kept, and one text at least. Which ones depends on the texts and
    the seed alone, so the texts that keep their labels under a share keep them under a larger one.
    Twins of one class are drawn one after the other; groups don't count.

    Args:
        splits: train, valid, test and perhaps unsup.
        share: above 0, at most 1.
        name: of the data set, for messages.
        key: what twins have in common.
        seed: another one keeps other labels.
        progress: called with a line on how many are kept.

    Raises:
        InputError: the share is of fewer texts than there are classes.
    """
    train = splits["train"]
    kept = np.zeros(len(train), dtype=bool)
    first: dict[str, str] = {}
    for text in train.texts:
        own = key(text)
        first[own] = min(first.get(own, text), text)
    order = [(text_lot(first[key(text)], _PURPOSE, seed), text) for text in train.texts]
    for label, count in _label_counts(train.labels, share).items():
        rows = np.flatnonzero(train.labels == label).tolist()
        kept[sorted(rows, key=lambda row: order[row])[:count]] = True
    if kept.all():
        return dict(splits)
    labelled, rest = train.where(kept), train.where(~kept)
    if progress:
        progress(
            f"{name}: {len(labelled):,} of {counted(len(train), 'text')} of train keep their "
            f"labels, {len(rest):,} went to unsup (--label-share {share:g})"
        )
    return _joined({**splits, "train": labelled}, rest.texts)


def _label_counts(labels: np.ndarray, share: float) -> dict[int, int]:
    """Return how many texts of each class keep their labels: by largest remainder, one at least."""
    classes, sizes = (each.tolist() for each in np.unique(labels, return_counts=True))
    total = round(share * len(labels))
    if total < len(classes):
        least = _rounded_up((len(classes) - 0.5) / len(labels))
        raise InputError(
            f"--label-share {share:g}: of {counted(len(labels), 'text')} of train that is "
            f"{counted(total, 'label')} for {len(classes)} classes; give {least:g} or more"
        )
    exact = {label: share * size for label, size in zip(classes, sizes, strict=True)}
    counts = {label: max(math.floor(value), 1) for label, value in exact.items()}
    by_remainder = sorted(classes, key=lambda label: counts[label] - exact[label])
    for label in by_remainder[: max(total - sum(counts.values()), 0)]:
        counts[label] += 1
    return counts


def _rounded_up(share: float) -> float:
    """Return the next share of two significant digits."""
    unit = 10.0 ** (math.floor(math.log10(share)) - 1)
    return min(math.ceil(share / unit + 1e-9) * unit, 1.0)


def unlabelled(texts: Sequence[str]) -> Split:
    """Return texts as a split without labels."""
    return Split(list(texts), np.empty(0, dtype=np.int64))


def _joined(splits: Mapping[str, Split], texts: Sequence[str]) -> dict[str, Split]:
    """Return the splits, with more texts in the one without labels; their groups don't count."""
    before = splits[UNLABELLED].texts if UNLABELLED in splits else []
    return {**splits, UNLABELLED: unlabelled([*before, *texts])}
