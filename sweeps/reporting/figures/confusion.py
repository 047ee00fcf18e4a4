"""The confusion matrix of a model on a split."""

from __future__ import annotations

import numpy as np

from sentiment.wording import counted
from sweeps.analysis.predictions import Predictions
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.svg import printable
from sweeps.reporting.figures.theme import BLUE, HALF_WIDTH, VERMILLION, WIDTH, new_drawing

MATRIX_CLASSES = 20
"""Classes of a confusion matrix that is drawn at most."""
_NUMBERED_CLASSES = 7
"""Classes of a confusion matrix that has numbers at most."""


def confusion(predictions: Predictions) -> ReportFigure:
    """Draw the confusion matrix: rows are labels, columns predictions."""
    scores = predictions.scores()
    figure = ReportFigure(
        "confusion",
        "Confusion matrix",
        f"{predictions.split} split, {counted(scores.count, 'text')}. Rows are labels, columns "
        "what the model predicted; shares are of a row. The diagonal is what it got right.",
    )
    names = [printable(name, 16) for name in predictions.label_names]
    if len(names) > MATRIX_CLASSES:
        return figure.not_drawn(f"{len(names)} classes are too many for a matrix")
    rows = scores.confusion.sum(axis=1, keepdims=True)
    shares = scores.confusion / np.maximum(rows, 1)
    figure.drawing, axes = new_drawing(
        4.4, width=HALF_WIDTH if len(names) <= _NUMBERED_CLASSES else WIDTH
    )
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    # Drawn as rectangles, whose colours the page can change; an image's it can't.
    for row, label in enumerate(names):
        for column, predicted in enumerate(names):
            share = float(shares[row, column])
            count = int(scores.confusion[row, column])
            colour = BLUE if row == column else VERMILLION
            cell = axes.bar(
                column, 0.96, 0.96, row - 0.48, color=colour, alpha=0.08 + 0.72 * share, lw=0
            )[0]
            figure.add_tooltips(cell, [f"{label}, taken for {predicted}: {count:,} ({share:.1%})"])
            if len(names) <= _NUMBERED_CLASSES:
                axes.text(
                    column, row, f"{count:,}\n{share:.1%}", ha="center", va="center", fontsize=10,
                    fontweight="bold" if row == column else "normal",
                )  # fmt: skip
    axes.set_xticks(range(len(names)), names, rotation=0 if len(names) <= 8 else 60)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="label")
    axes.grid(visible=False)
    return figure
