"""The figures of a search, in the order of a report: how it went, what it found, what mattered."""

from __future__ import annotations

from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.figures.curves import curves
from sweeps.reporting.figures.history import history
from sweeps.reporting.figures.importance import importance
from sweeps.reporting.figures.parallel import parallel
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.slices import slices
from sweeps.reporting.figures.theme import styled
from sweeps.reporting.figures.timeline import timeline
from sweeps.reporting.figures.tradeoffs import parameters, seconds


def search_figures(record: SweepData) -> list[ReportFigure]:
    """Return the figures of a search, in the order of a report."""
    with styled():
        return [
            history(record),
            curves(record),
            parameters(record),
            seconds(record),
            importance(record),
            slices(record),
            parallel(record),
            timeline(record),
        ]
