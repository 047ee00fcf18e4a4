"""The figures of a comparison of several runs, or of several sweeps."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.analysis.comparison import Comparison
from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.calibration import calibration
from sweeps.reporting.figures.pair_differences import pair_differences
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.roc import roc
from sweeps.reporting.figures.run_curves import run_curves
from sweeps.reporting.figures.sweep_points import evaluated
from sweeps.reporting.figures.sweep_progress import sweep_progress
from sweeps.reporting.figures.sweep_sizes import sweep_sizes
from sweeps.reporting.figures.sweep_spread import sweep_spread
from sweeps.reporting.figures.theme import styled


def run_figures(comparison: Comparison) -> list[ReportFigure]:
    """Return the figures of a comparison of runs; of each that has something to draw."""
    models = [(run.label, run.predictions) for run in comparison.runs if run.predictions]
    with styled():
        figures = [pair_differences(comparison), run_curves(comparison)]
        if models:
            figures += [roc(models), calibration(models)]
    return [figure for figure in figures if figure.drawing is not None]


def sweep_figures(records: Sequence[SweepData]) -> list[ReportFigure]:
    """Return the figures of several sweeps; of each that has something to draw."""
    shown = [record for record in records if evaluated(record)]
    if not shown:
        return []
    with styled():
        return [sweep_progress(shown), sweep_spread(shown), sweep_sizes(shown)]
