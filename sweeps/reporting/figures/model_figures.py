"""The figures of a model on a split: where it errs, how it ranks, how calibrated it is."""

from __future__ import annotations

from sweeps.analysis.predictions import Predictions
from sweeps.reporting.figures.calibration import calibration
from sweeps.reporting.figures.confusion import confusion
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.roc import roc
from sweeps.reporting.figures.theme import styled


def model_figures(predictions: Predictions, name: str) -> list[ReportFigure]:
    """Return the figures of one model, in the order of a report.

    Args:
        predictions: its predictions of a split.
        name: what to call the model.
    """
    with styled():
        return [
            confusion(predictions),
            roc([(name, predictions)]),
            calibration([(name, predictions)]),
        ]
