"""A figure of a report: drawn once, saved as PNG and as an SVG element of a page."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from sweeps.reporting.figures.svg import page_element, printable
from sweeps.reporting.figures.theme import HALF_WIDTH, styled

_DOTS_PER_INCH = 144


@dataclass
class ReportFigure:
    """One figure, or a note in its place.

    Attributes:
        name: file name without its suffix, and the figure's anchor in a page.
        title: its heading.
        reading: how to read it.
        drawing: None if there is nothing to draw.
        notes: further remarks: how many trials it shows, why it is not drawn.
        tooltips: by the id of an artist, one text for each of its marks.
    """

    name: str
    title: str
    reading: str
    drawing: Figure | None = None
    notes: list[str] = field(default_factory=list)
    tooltips: dict[str, list[str]] = field(default_factory=dict)
    _laid_out: bool = field(default=False, init=False)

    @property
    def is_half(self) -> bool:
        """Whether another of its kind fits beside it."""
        return self.drawing is not None and self.drawing.get_figwidth() <= HALF_WIDTH

    def add_tooltips(self, artist: Artist, texts: Sequence[str]) -> None:
        """Set the tooltips of an artist's marks."""
        gid = f"tooltip-{len(self.tooltips)}"
        artist.set_gid(gid)
        self.tooltips[gid] = [printable(text, 600) for text in texts]

    def not_drawn(self, why: str) -> ReportFigure:
        """Add a note that says why there is no drawing; return the figure."""
        self.notes.append(f"Not drawn: {why}.")
        return self

    def png(self) -> bytes:
        """Return the drawing as a PNG file.

        Raises:
            ValueError: there is none.
        """
        return self._saved("png", dpi=_DOTS_PER_INCH)

    def svg(self) -> str:
        """Return the drawing as an `<svg>` element for a page.

        Raises:
            ValueError: there is none, or marks and tooltips of an artist differ in number.
        """
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        file = self._saved("svg", metadata=metadata)
        return page_element(file, self.name, self.title, self.tooltips)

    def _saved(self, kind: str, **options: Any) -> bytes:
        if self.drawing is None:
            raise ValueError(f"the figure {self.name} is not drawn")
        buffer = io.BytesIO()
        with styled(), warnings.catch_warnings():
            # A label in a script that the font lacks shows boxes in the PNG; the SVG has it.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            if not self._laid_out:
                # Once, for both kinds: a figure that has an engine is laid out at each saving.
                ConstrainedLayoutEngine().execute(self.drawing)
                self._laid_out = True
            matplotlib.rcParams["svg.hashsalt"] = self.name
            self.drawing.savefig(buffer, format=kind, **options)
        return buffer.getvalue()
