"""A figure's SVG as an element of a page: its ids, colours, font and tooltips.

Colours of text, lines and background become CSS variables of the page, so that a figure fits a
light and a dark page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from sweeps.reporting.figures.theme import CSS_NAMES

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "{http://www.w3.org/1999/xlink}href"
_SHAPES = {f"{{{_SVG}}}{name}" for name in ("path", "use", "rect")}
_FONT = re.compile(r"font-family: [^;\"]+")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
# What XML can't hold.
_UNPRINTABLE = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(text: object, length: int = 60) -> str:
    """Return a text that XML can hold, truncated to a length."""
    clean = _UNPRINTABLE.sub("\ufffd", str(text))
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def page_element(svg: bytes, name: str, title: str, tooltips: Mapping[str, Sequence[str]]) -> str:
    """Return an SVG file as an `<svg>` element for a page that holds several.

    Args:
        svg: the file that matplotlib wrote.
        name: the figure's name, which becomes a prefix of its ids.
        title: its label for screen readers.
        tooltips: texts by the id of a group, one for each of its marks.

    Raises:
        ValueError: a group has more or fewer marks than tooltips.
    """
    root = ElementTree.fromstring(svg)
    for unwanted in ("metadata", "defs"):
        for found in root.findall(f"{{{_SVG}}}{unwanted}"):
            if not any("id" in child.attrib for child in found):
                root.remove(found)
    _add_tooltips(root, tooltips)
    _prefix_ids(root, f"{name}-")
    for size in ("width", "height"):
        del root.attrib[size]
    root.set("role", "img")
    root.set("aria-label", title)
    ElementTree.register_namespace("", _SVG)
    text = ElementTree.tostring(root, encoding="unicode")
    text = _FONT.sub("font-family: inherit", text)
    for colour, variable in CSS_NAMES.items():
        text = text.replace(colour, f"var(--{variable})")
    return text


def _add_tooltips(root: ElementTree.Element, tooltips: Mapping[str, Sequence[str]]) -> None:
    groups = {group.get("id"): group for group in root.iter(f"{{{_SVG}}}g")}
    for gid, texts in tooltips.items():
        group = groups[gid]
        marks = [group]
        if len(texts) > 1:
            hidden = {id(shape) for defs in group.iter(f"{{{_SVG}}}defs") for shape in defs}
            marks = [e for e in group.iter() if e.tag in _SHAPES and id(e) not in hidden]
        for mark, text in zip(marks, texts, strict=True):
            title = ElementTree.Element(f"{{{_SVG}}}title")
            title.text = text
            mark.insert(0, title)


def _prefix_ids(root: ElementTree.Element, prefix: str) -> None:
    """Make all ids, and the references to them, unique within the page."""
    for element in root.iter():
        if "id" in element.attrib:
            element.set("id", prefix + element.attrib["id"])
        for key, value in list(element.attrib.items()):
            if key == _XLINK:
                del element.attrib[key]
                element.set("href", f"#{prefix}{value[1:]}")
            elif "url(#" in value:
                element.set(key, _REFERENCE.sub(rf"url(#{prefix}\1)", value))
