"""Pictures of what a model says of a split: where it errs, how it ranks, how sure it may be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from sklearn.metrics import roc_auc_score, roc_curve

from sentiment.listing import listed
from sentiment.wording import counted
from sweeps.analysis.predictions import Predictions
from sweeps.analysis.significance import wilson
from sweeps.reporting.figures.drawing import (
    BLUE,
    GREY,
    HALF_WIDTH,
    ORANGE,
    SERIES,
    VERMILLION,
    WIDTH,
    Picture,
    legend_below,
    new_figure,
    printable,
    styled,
)

BINS = 10
"""Groups of a reliability diagram, of equally many texts each."""
CLASSES_DRAWN = 7
"""Curves of a ROC picture at most, and classes of a confusion matrix that has numbers."""

MATRIX_CLASSES = 20
"""Classes of a confusion matrix that is drawn at most."""


def model_pictures(predictions: Predictions, name: str) -> list[Picture]:
    """Return the pictures of one model, in the order of a report.

    Args:
        predictions: what it says of a split.
        name: what to call the model.
    """
    with styled():
        return [
            confusion(predictions),
            roc([(name, predictions)]),
            calibration([(name, predictions)]),
        ]


def confusion(predictions: Predictions) -> Picture:
    """Draw the confusion matrix: rows are labels, columns predictions."""
    scores = predictions.scores()
    picture = Picture(
        "confusion",
        "Confusion matrix",
        f"{predictions.split} split, {counted(scores.count, 'text')}. Rows are labels, columns "
        "what the model said; shares are of a row. The diagonal is what it got right.",
        None,
    )
    names = [printable(name, 16) for name in predictions.label_names]
    if len(names) > MATRIX_CLASSES:
        picture.notes.append(f"Not drawn: {len(names)} classes are too many for a matrix.")
        return picture
    rows = scores.confusion.sum(axis=1, keepdims=True)
    shares = scores.confusion / np.maximum(rows, 1)
    picture.figure, axes = new_figure(
        4.4, width=HALF_WIDTH if len(names) <= CLASSES_DRAWN else WIDTH
    )
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    # Drawn as rectangles, whose colours the page can change; an image's it can't.
    for row, label in enumerate(names):
        for column, said in enumerate(names):
            share = float(shares[row, column])
            count = int(scores.confusion[row, column])
            colour = BLUE if row == column else VERMILLION
            cell = axes.bar(
                column, 0.96, 0.96, row - 0.48, color=colour, alpha=0.08 + 0.72 * share, lw=0
            )[0]
            picture.tip(cell, [f"{label}, taken for {said}: {count:,} ({share:.1%})"])
            if len(names) <= CLASSES_DRAWN:
                axes.text(
                    column, row, f"{count:,}\n{share:.1%}", ha="center", va="center", fontsize=10,
                    fontweight="bold" if row == column else "normal",
                )  # fmt: skip
    axes.set_xticks(range(len(names)), names, rotation=0 if len(names) <= 8 else 60)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="label")
    axes.grid(visible=False)
    return picture


def roc(models: Sequence[tuple[str, Predictions]]) -> Picture:
    """Draw ROC curves: of one model for each class, of several for the last of two classes."""
    picture = Picture(
        "roc",
        "ROC curve",
        "How many of a class are found (up) at the cost of how many false alarms (right), as the "
        "threshold on its probability falls. The area under a curve (AUC) is the chance that the "
        "model ranks a text of the class above one of another.",
        None,
    )
    curves = []
    without: list[str] = []
    for name, predictions in models:
        names = predictions.label_names
        classes = [1] if len(names) == 2 else list(range(len(names)))
        for index in classes:
            is_class = predictions.labels == index
            if is_class.all() or not is_class.any():
                without.append(names[index])
                continue
            label = printable(names[index]) if len(models) == 1 else printable(name, 34)
            if len(models) > 1 and len(names) > 2:
                label = f"{label}, {printable(names[index])}"
            curves.append((label, is_class, predictions.log_probabilities[:, index]))
    if without:
        picture.notes.append(f"No curve, as the split has no two classes: {listed(without)}.")
    if len(curves) > CLASSES_DRAWN:
        picture.notes.append(f"The first {CLASSES_DRAWN} of {len(curves)} curves are drawn.")
    if not curves:
        return picture
    picture.figure, axes = new_figure(4.4, width=HALF_WIDTH)
    axes.plot([0, 1], [0, 1], color=GREY, ls=":", lw=1.2, label="chance")
    for (label, is_class, ranking), colour in zip(curves[:CLASSES_DRAWN], SERIES, strict=False):
        false, true, _ = roc_curve(is_class, ranking)
        area = float(roc_auc_score(is_class, ranking))
        false, true = _thinned(false, true)
        text = f"{label}, AUC {area:.4f}"
        (line,) = axes.plot(false, true, color=colour, label=text)
        picture.tip(line, [text])
    axes.set(xlabel="false alarms, share of the others", ylabel="found, share of the class")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.legend(loc="lower right")
    return picture


def calibration(models: Sequence[tuple[str, Predictions]]) -> Picture:
    """Draw reliability diagrams: accuracy over confidence, in groups of equally many texts."""
    picture = Picture(
        "calibration",
        "Calibration: may one believe the probabilities?",
        f"The texts in {BINS} groups of equal size by the probability that the model gives its "
        "answer, and the share of each group that is right, with its 95% Wilson interval. On the "
        "diagonal the probabilities hold; below it the model is surer than it should be.",
        None,
    )
    picture.figure, (axes, shares) = new_figure(4.4, 1, 2, width_ratios=(1.5, 1))
    axes.plot([0, 1], [0, 1], color=GREY, ls=":", lw=1.2, label="as sure as right")
    least = 1.0
    for (name, predictions), colour in zip(models, SERIES, strict=False):
        groups = reliability(predictions)
        sure = [group.confidence for group in groups]
        least = min(least, *sure, *(group.interval[0] for group in groups))
        right = [group.accuracy for group in groups]
        bars = np.array([(g.accuracy - g.interval[0], g.interval[1] - g.accuracy) for g in groups])
        axes.errorbar(
            sure, right, np.abs(bars.T), fmt="none", ecolor=colour, elinewidth=1, alpha=0.7
        )
        gap = calibration_error(predictions)
        (line,) = axes.plot(
            sure, right, color=colour, marker="o", ms=5, label=f"{printable(name, 40)}"
        )
        picture.tip(line, [f"{name}: expected calibration error {gap:.4f}"])
        picture.notes.append(
            f"{name}: the probabilities are off by {gap:.3f} on average (expected calibration "
            "error over these groups)."
        )
        _histogram(shares, predictions, colour if len(models) > 1 else None)
    low = max(0.0, least - 0.03)
    axes.set_xlim(low, 1.01)
    axes.set_ylim(low, 1.01)
    axes.set(xlabel="mean probability of the answer", ylabel="share that is right")
    shares.set(xlabel="probability of the answer", ylabel="texts")
    legend_below(axes, shares)
    return picture


class Reliability:
    """Texts of like confidence, and how often the model was right about them."""

    def __init__(self, confidence: np.ndarray, hits: np.ndarray) -> None:
        """Measure a group: confidences (n,) and booleans (n,)."""
        self.count = len(hits)
        self.confidence = float(confidence.mean())
        self.accuracy = float(hits.mean())
        self.interval = wilson(int(hits.sum()), self.count)


def reliability(predictions: Predictions) -> list[Reliability]:
    """Return groups of equally many texts by confidence, the least sure first."""
    order = np.argsort(predictions.confidence, kind="stable")
    groups = np.array_split(order, min(BINS, len(order)))
    return [Reliability(predictions.confidence[g], predictions.hits[g]) for g in groups]


def calibration_error(predictions: Predictions) -> float:
    """Return the expected calibration error over groups of equally many texts.

    The mean, over texts, of how far a group's confidence lies from its accuracy (Naeini et al.
    2015, AAAI; with equal counts as in Nguyen and O'Connor 2015, EMNLP).
    """
    groups = reliability(predictions)
    count = sum(group.count for group in groups)
    return sum(group.count * abs(group.confidence - group.accuracy) for group in groups) / count


def _histogram(axes: Axes, predictions: Predictions, colour: str | None) -> None:
    """Draw how many texts have which confidence; right and wrong apart, for one model."""
    low = 1 / len(predictions.label_names)
    edges = np.linspace(low, 1.0, 21).tolist()
    if colour is not None:
        axes.hist(predictions.confidence, edges, histtype="step", color=colour, lw=1.5)
        return
    right = predictions.confidence[predictions.hits]
    wrong = predictions.confidence[~predictions.hits]
    axes.hist(
        [right, wrong], edges, stacked=True, color=[BLUE, ORANGE], label=["right", "wrong"], lw=0
    )


def _thinned(x: np.ndarray, y: np.ndarray, points: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Return fewer points of a curve, its ends among them."""
    if len(x) <= points:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, points).astype(int))
    return x[kept], y[kept]
