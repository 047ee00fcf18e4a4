"""ROC curves, of one model for each class or of several models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from sentiment.listing import listed
from sweeps.analysis.predictions import Predictions
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.svg import printable
from sweeps.reporting.figures.theme import GREY, HALF_WIDTH, SERIES, new_drawing

_CURVES_DRAWN = 7
"""Curves at most."""


@dataclass(frozen=True)
class _Curve:
    """What a ROC curve is drawn from.

    Attributes:
        label: the model, or the class.
        is_class: (n,) whether a text is of the class.
        scores: (n,) log-probability of the class.
    """

    label: str
    is_class: np.ndarray
    scores: np.ndarray


def roc(models: Sequence[tuple[str, Predictions]]) -> ReportFigure:
    """Draw ROC curves: of one model for each class, of several for the last of two classes."""
    figure = ReportFigure(
        "roc",
        "ROC curve",
        "How many of a class are found (up) at the cost of how many false alarms (right), as the "
        "threshold on its probability falls. The area under a curve (AUC) is the chance that the "
        "model ranks a text of the class above one of another.",
    )
    curves, without = _curves(models)
    if without:
        figure.notes.append(f"No curve, as the split has no two classes: {listed(without)}.")
    if len(curves) > _CURVES_DRAWN:
        figure.notes.append(f"The first {_CURVES_DRAWN} of {len(curves)} curves are drawn.")
    if not curves:
        return figure
    figure.drawing, axes = new_drawing(4.4, width=HALF_WIDTH)
    axes.plot([0, 1], [0, 1], color=GREY, ls=":", lw=1.2, label="chance")
    for curve, colour in zip(curves[:_CURVES_DRAWN], SERIES, strict=False):
        false, true, _ = roc_curve(curve.is_class, curve.scores)
        area = float(roc_auc_score(curve.is_class, curve.scores))
        false, true = _thinned(false, true)
        text = f"{curve.label}, AUC {area:.4f}"
        (line,) = axes.plot(false, true, color=colour, label=text)
        figure.add_tooltips(line, [text])
    axes.set(xlabel="false alarms, share of the others", ylabel="found, share of the class")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.legend(loc="lower right")
    return figure


def _curves(models: Sequence[tuple[str, Predictions]]) -> tuple[list[_Curve], list[str]]:
    """Return the curves of all models, and the classes without one: of all texts or of none."""
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
            curves.append(_Curve(label, is_class, predictions.log_probabilities[:, index]))
    return curves, without


def _thinned(x: np.ndarray, y: np.ndarray, points: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Return fewer points of a curve, its ends among them."""
    if len(x) <= points:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, points).astype(int))
    return x[kept], y[kept]
