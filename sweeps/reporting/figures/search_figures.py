"""The figures of a search by their sections, in the order of a report.

A new figure is a module of its own here and its name in a section below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class FigureSection:
    """A section of a report that holds figures.

    Attributes:
        anchor: its anchor in the page.
        title: its heading.
        draw: functions that draw its figures, in their order.
    """

    anchor: str
    title: str
    draw: Sequence[Callable[[SweepData], ReportFigure]]

    def figures(self, record: SweepData) -> list[ReportFigure]:
        """Draw the section's figures of a sweep."""
        with styled():
            return [draw(record) for draw in self.draw]


SECTIONS = (
    FigureSection("search", "How the search went", (history, curves)),
    FigureSection("hyperparameters", "What mattered", (importance, slices, parallel)),
    FigureSection("cost", "What accuracy costs", (parameters, seconds, timeline)),
)
