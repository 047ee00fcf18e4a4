"""The report's page: one HTML file with all in it, that opens anywhere and asks for nothing.

Texts, labels and names come from data that anyone may have written. The template escapes all of
them; only the figures' SVG is inserted unescaped, whose writers escape what they are given. The
page's own policy lets no script run but the one below, and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

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
        picture: an SVG element that is shown before the tables.
        tables: shown before the figures.
        figures: drawn, or with notes that say why not.
        mistakes: texts that a model got wrong.
        commands: what to type, and what for.
    """

    anchor: str
    title: str
    text: Sequence[str] = ()
    picture: Markup | None = None
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
        script = template_text("report.js")
        page = template("report.html").render(
            report=self,
            drawn=_drawn(self.figures),
            style=Markup(template_text("report.css")),
            script=Markup(script),
            script_hash=script_hash(script),
        )
        # A lone surrogate in a text can't be written; a question mark stands for it.
        return page.encode("utf-8", "replace")

    def head_html(self) -> str:
        """Return the head of the page: its title, its warnings, its facts."""
        return str(_parts().head(self))


def section_html(section: Section) -> str:
    """Return a section as an element of a page, its figures drawn."""
    return str(_parts().part(section, _drawn(section.figures)))


def script_hash(script: str) -> str:
    """Return what a Content-Security-Policy names a script by."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def template_text(name: str) -> str:
    """Return a file of the templates as it is."""
    return (_FOLDER / name).read_text("utf-8")


@cache
def template(name: str) -> Template:
    """Return a template of the pages."""
    return _environment().get_template(name)


def _drawn(figures: Sequence[ReportFigure]) -> dict[str, Markup]:
    return {each.name: Markup(each.svg()) for each in figures if each.drawing is not None}


def _parts() -> Any:
    """Return the macros of the parts of a page."""
    return template("parts.html").module


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["shaded"] = shaded
    return environment
