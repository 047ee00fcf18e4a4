"""The figures of a search by their sections, in the order of a report.

A new figure is a module of its own here and its name in a section below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sweeps.analysis.sweep_data import SweepData
from sweeps.objectives import LATENCY
from sweeps.reporting.figures.curves import curves
from sweeps.reporting.figures.history import history
from sweeps.reporting.figures.importance import importance
from sweeps.reporting.figures.parallel import parallel
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.figures.slices import slices
from sweeps.reporting.figures.theme import styled
from sweeps.reporting.figures.timeline import timeline
from sweeps.reporting.figures.tradeoffs import latency, parameters, seconds


@dataclass(frozen=True)
class FigureSection:
    """A section of a report that holds figures.

    Attributes:
        anchor: its anchor in the page.
        title: its heading.
        draw: functions that draw its figures, in their order.
        searched: further ones by the objective for which a sweep must have searched.
    """

    anchor: str
    title: str
    draw: Sequence[Callable[[SweepData], ReportFigure]]
    searched: Mapping[str, Callable[[SweepData], ReportFigure]] = field(default_factory=dict)

    def figures(self, record: SweepData) -> list[ReportFigure]:
        """Draw the section's figures of a sweep."""
        names = record.objectives.further
        further = [draw for name, draw in self.searched.items() if name in names]
        with styled():
            return [draw(record) for draw in (*further, *self.draw)]


SECTIONS = (
    FigureSection("search", "How the search went", (history, curves)),
    FigureSection("hyperparameters", "What mattered", (importance, slices, parallel)),
    FigureSection(
        "cost", "What accuracy costs", (parameters, seconds, timeline), {LATENCY: latency}
    ),
)
