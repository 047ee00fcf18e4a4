"""How a model's scores are shown: a few lines for a reader, one object for a program."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment.data.identity import SHOWN
from sentiment.inference.metrics import frequent_confusions
from sentiment.listing import short, table_lines

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
    metrics = scores.metrics(scored.split)
    yield from table_lines([name, f"{value:.4f}"] for name, value in metrics.items())
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
    rows = [["label \\ predicted", *shown]]
    for name, row in zip(shown, confusion.tolist(), strict=True):
        rows.append([name, *(f"{count:,}" for count in row)])
    yield from table_lines(rows)


def confused_lines(names: Sequence[str], confusion: np.ndarray) -> Iterator[str]:
    """Yield the most frequent confusions."""
    kinds = int(np.count_nonzero(confusion) - np.count_nonzero(confusion.diagonal()))
    if not kinds:
        yield "  no text is taken for another class"
        return
    rows = [["texts", "label", "taken for"]]
    for label, taken, count in frequent_confusions(confusion, ROWS):
        rows.append([f"{count:,}", *(short(names[each], NAME_WIDTH) for each in (label, taken))])
    yield from table_lines(rows, numbers=False)
    if kinds > ROWS:
        yield f"  … and {kinds - ROWS:,} more kinds of confusion: --json has all"


def class_lines(names: Sequence[str], scores: Scores) -> Iterator[str]:
    """Yield the metrics of the classes with the lowest F1; the commoner first of equals."""
    classes = list(zip(names, scores.classes(), strict=True))
    occurring = [(name, each) for name, each in classes if each.f1 is not None]
    occurring.sort(key=lambda pair: (pair[1].f1, -pair[1].count))
    rows = [["class, the lowest f1 first", "texts", "predicted", "precision", "recall", "f1"]]
    for name, each in occurring[:ROWS]:
        shares = (_share(value) for value in (each.precision, each.recall, each.f1))
        counts = (f"{each.count:,}", f"{each.predicted:,}")
        rows.append([short(name, NAME_WIDTH), *counts, *shares])
    yield from table_lines(rows)
    if len(occurring) > ROWS:
        yield f"  … and {len(occurring) - ROWS:,} more classes: --json has all"


def _share(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"
