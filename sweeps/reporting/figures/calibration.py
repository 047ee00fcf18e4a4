"""Reliability diagrams: accuracy over confidence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from sweeps.analysis.predictions import Predictions
from sweeps.reporting.figures.axes import legend_below
from sweeps.reporting.figures.reliability import BINS, calibration_error, reliability
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.svg import printable
from sweeps.reporting.figures.theme import BLUE, GREY, ORANGE, SERIES, new_drawing


def calibration(models: Sequence[tuple[str, Predictions]]) -> ReportFigure:
    """Draw reliability diagrams: accuracy over confidence, in groups of equally many texts."""
    figure = ReportFigure(
        "calibration",
        "Calibration: may one believe the probabilities?",
        f"The texts in {BINS} groups of equal size by the probability that the model gives its "
        "answer, and the share of each group that is right, with its 95% Wilson interval. On the "
        "diagonal the probabilities hold; below it the model is surer than it should be.",
    )
    figure.drawing, (axes, shares) = new_drawing(4.4, 1, 2, width_ratios=(1.5, 1))
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
        figure.add_tooltips(line, [f"{name}: expected calibration error {gap:.4f}"])
        figure.notes.append(
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
    return figure


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
