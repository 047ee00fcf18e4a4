"""How a model's scores are shown: a few lines for a reader, one object for a program."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment.data.identity import SHOWN
from sentiment.inference.metrics import frequent_confusions
from sentiment.listing import short

if TYPE_CHECKING:
    from sentiment.evaluation.scored_texts import ScoredTexts
    from sentiment.inference.metrics import Scores

MATRIX_CLASSES = 7
"""Up to so many classes the confusion matrix is printed."""
ROWS = 10
"""Rows of the tables that replace the matrix of more classes."""
NAME_WIDTH = 24
"""Characters of a label in a table."""


def plain(
    scored: ScoredTexts, scores: Scores, label_names: Sequence[str], trained_on: str | None
) -> dict[str, Any]:
    """Return the scores as plain values, complete however many the classes are."""
    return {
        "dataset": scored.name,
        "dataset_fingerprint": scored.fingerprint,
        "own_data": scored.own,
        "trained_on": trained_on,
        "note": scored.note,
        "split": scored.split,
        **scores.metrics(scored.split),
        "count": scores.count,
        "labels": list(label_names),
        "classes": {
            name: asdict(each) for name, each in zip(label_names, scores.classes(), strict=True)
        },
        "confusion": scores.confusion.tolist(),
    }


def lines(
    scored: ScoredTexts, scores: Scores, label_names: Sequence[str], trained_on: str | None
) -> Iterator[str]:
    """Yield the scores in lines of bounded length and number.

    Args:
        scored: what was scored.
        scores: the scores.
        label_names: of the model.
        trained_on: name of the data that the model was trained on.
    """
    yield f"{scored.name} {scored.split}, {scores.count:,} texts"
    whose = (
        "the model's own"
        if scored.own
        else f"not the model's own, which is {trained_on or 'not recorded'}"
    )
    yield f"  data: {whose}; fingerprint {scored.fingerprint[:SHOWN]}"
    if scored.own and scored.split in ("train", "all"):
        yield "  note: the model was trained on texts of this"
    if scored.note is not None:
        yield f"  note: {scored.note}"
    for name, value in scores.metrics(scored.split).items():
        yield f"  {name:<16} {value:.4f}"
    if not scored.own and scores.occurring < len(label_names):
        yield f"  (f1 is over the {scores.occurring} of {len(label_names)} classes that occur)"
    if len(label_names) <= MATRIX_CLASSES:
        yield from matrix_lines(label_names, scores.confusion)
    else:
        yield from confused_lines(label_names, scores.confusion)
        yield from class_lines(label_names, scores)


def matrix_lines(names: Sequence[str], confusion: np.ndarray) -> Iterator[str]:
    """Yield the confusion matrix: a row a label, a column a prediction."""
    shown = [short(name, NAME_WIDTH) for name in names]
    width = max(8, *map(len, shown))
    rows = max(17, width)
    corner = "label \\ predicted"
    yield f"  {corner:>{rows}} " + " ".join(f"{name:>{width}}" for name in shown)
    for name, row in zip(shown, confusion.tolist(), strict=True):
        yield f"  {name:>{rows}} " + " ".join(f"{count:>{width},}" for count in row)


def confused_lines(names: Sequence[str], confusion: np.ndarray) -> Iterator[str]:
    """Yield the most frequent confusions."""
    kinds = int(np.count_nonzero(confusion) - np.count_nonzero(confusion.diagonal()))
    if not kinds:
        yield "  no text is taken for another class"
        return
    yield f"  {'label':<{NAME_WIDTH}} {'taken for':<{NAME_WIDTH}} {'texts':>8}"
    for label, taken, count in frequent_confusions(confusion, ROWS):
        first, second = (short(names[each], NAME_WIDTH) for each in (label, taken))
        yield f"  {first:<{NAME_WIDTH}} {second:<{NAME_WIDTH}} {count:>8,}"
    if kinds > ROWS:
        yield f"  … and {kinds - ROWS:,} more kinds of confusion: --json has all"


def class_lines(names: Sequence[str], scores: Scores) -> Iterator[str]:
    """Yield the metrics of the classes with the lowest F1; the commoner first of equals."""
    classes = list(zip(names, scores.classes(), strict=True))
    occurring = [(name, each) for name, each in classes if each.f1 is not None]
    occurring.sort(key=lambda pair: (pair[1].f1, -pair[1].count))
    yield (
        f"  {'class, the lowest f1 first':<{NAME_WIDTH + 2}} {'texts':>8} {'predicted':>9} "
        f"{'precision':>9} {'recall':>9} {'f1':>9}"
    )
    for name, each in occurring[:ROWS]:
        shares = " ".join(f"{_share(value):>9}" for value in (each.precision, each.recall, each.f1))
        yield (
            f"  {short(name, NAME_WIDTH):<{NAME_WIDTH + 2}} {each.count:>8,} "
            f"{each.predicted:>9,} {shares}"
        )
    if len(occurring) > ROWS:
        yield f"  … and {len(occurring) - ROWS:,} more classes: --json has all"


def _share(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"
