"""What a data set is made of, in lines: labels and lengths of the texts, by split."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sentiment.data.datasets import Dataset

EXTREMES = 3
"""How many of the shortest and of the longest texts are shown."""

_SHOWN = 12


def described(dataset: Dataset) -> Iterator[str]:
    """Yield the lines of a plan: texts of each split and label, how labels are written, lengths."""
    for name, split in dataset.splits.items():
        counts = f": {label_counts(dataset.label_names, split.labels)}" if len(split.labels) else ""
        yield f"{dataset.name} {name}: {len(split.texts):,} texts{counts}"
    yield f"labels: {_all_labels(dataset)}"
    if (groups := group_line(dataset)) is not None:
        yield groups
    if dataset.account is not None:
        for name, spellings in dataset.account.spellings.items():
            if len(spellings) > 1:
                ways = ", ".join(
                    f"{text!r} ({count:,})" for text, count in spellings.most_common(5)
                )
                yield f"label {name!r} is written {ways}"
    shortest, longest = lengths(dataset)
    yield (
        f"lengths: the shortest texts have {', '.join(f'{n:,}' for n in shortest)} characters, "
        f"the longest {', '.join(f'{n:,}' for n in longest)}"
    )


def brief(dataset: Dataset) -> str:
    """Return one line: texts of each split, labels, lengths."""
    sizes = ", ".join(f"{len(split.texts):,} {name}" for name, split in dataset.splits.items())
    shortest, longest = lengths(dataset)
    return (
        f"{dataset.name}: {sizes} texts of {shortest[0]:,} to {longest[-1]:,} characters, labels "
        f"{_all_labels(dataset)}"
    )


def group_line(dataset: Dataset) -> str | None:
    """Return how many groups there are, such as films; None where texts have none."""
    every = [set(split.groups) - {None} for split in dataset.splits.values() if split.groups]
    if not every or dataset.config is None:
        return None
    count = len(set().union(*every))
    return f"groups: {count:,} values of {dataset.config.group_column}, none in two splits"


def label_counts(names: Sequence[str], labels: np.ndarray) -> str:
    """Return how many of some labels (n,) there are of each class: `neg (70), pos (71)`."""
    counts = np.bincount(labels, minlength=len(names)).tolist()
    shown = [f"{name} ({count:,})" for name, count in zip(names, counts, strict=True)][:_SHOWN]
    more = f" and {len(names) - _SHOWN:,} labels more" if len(names) > _SHOWN else ""
    return f"{', '.join(shown)}{more}"


def _all_labels(dataset: Dataset) -> str:
    labels = [split.labels for split in dataset.splits.values() if len(split.labels)]
    return label_counts(dataset.label_names, np.concatenate(labels))


def lengths(dataset: Dataset) -> tuple[list[int], list[int]]:
    """Return the characters of the shortest and of the longest texts, both ascending."""

    def all_lengths() -> Iterator[int]:
        return map(len, chain.from_iterable(split.texts for split in dataset.splits.values()))

    longest = heapq.nlargest(EXTREMES, all_lengths())
    return heapq.nsmallest(EXTREMES, all_lengths()), longest[::-1]
