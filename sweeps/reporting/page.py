"""The report's page: one HTML file with all in it, that opens anywhere and asks for nothing.

Texts, labels and names come from data that anyone may have written. The template escapes all of
them; only the figures' SVG is inserted unescaped, which an XML writer made. The page's own
policy lets no script run but the one below, and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from sweeps.analysis.predictions import Mistake
from sweeps.reporting.figures.report_figure import ReportFigure
from sweeps.reporting.shading import shaded
from sweeps.reporting.tables import PageTable

_FOLDER = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Section:
    """A part of a report under a heading.

    Attributes:
        anchor: its address within the page.
        title: its heading.
        text: paragraphs.
        tables: shown before the figures.
        figures: drawn, or with notes that say why not.
        mistakes: texts that a model got wrong.
        commands: what to type, and what for.
    """

    anchor: str
    title: str
    text: Sequence[str] = ()
    tables: Sequence[PageTable] = ()
    figures: Sequence[ReportFigure] = ()
    mistakes: Sequence[Mistake] = ()
    commands: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Fact:
    """A value at the head of a report: its name, its text, and a note on it."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Report:
    """The contents of a page.

    Attributes:
        title: of the page.
        subtitle: one line under it.
        facts: the values at its head.
        sections: in their order.
        warnings: shown before all else.
    """

    title: str
    subtitle: str
    facts: Sequence[Fact]
    sections: Sequence[Section]
    warnings: Sequence[str] = field(default_factory=tuple)

    @property
    def figures(self) -> list[ReportFigure]:
        """All figures that are drawn."""
        return [
            figure
            for section in self.sections
            for figure in section.figures
            if figure.drawing is not None
        ]

    def html(self) -> bytes:
        """Return the page, UTF-8."""
        script = (_FOLDER / "report.js").read_text("utf-8")
        style = (_FOLDER / "report.css").read_text("utf-8")
        drawn = {figure.name: Markup(figure.svg()) for figure in self.figures}
        page = _template().render(
            report=self,
            drawn=drawn,
            style=Markup(style),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
        # A lone surrogate in a text can't be written; a question mark stands for it.
        return page.encode("utf-8", "replace")


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["shaded"] = shaded
    return environment.get_template("report.html")
