"""`python -m sentiment.reference`: every hyperparameter as a Markdown page.

`docs/hyperparameters.md` is its output; a test compares the two.
"""

from __future__ import annotations

import types
import typing
from typing import Any

from sentiment import cli
from sentiment.config import SECTIONS, fields

_TITLES = {"text": "Text", "model": "Model", "training": "Training"}


def main(argv: list[str] | None = None) -> None:
    """Print the page."""
    parser = cli.Parser(
        prog="python -m sentiment.reference",
        description="Print every hyperparameter as a Markdown page; docs/hyperparameters.md is it.",
        examples=("python -m sentiment.reference > docs/hyperparameters.md",),
    )
    parser.parse_args(argv)
    print(page(), end="")


def page() -> str:
    """Return the page: a table a section, a row a hyperparameter."""
    parts = [
        "# Hyperparameters",
        "",
        "Under these names they are set by `--set`, searched by a space file, and recorded as",
        "parameters in MLflow. This page is made from the fields in `sentiment/config.py` by",
        "`python -m sentiment.reference`.",
    ]
    known = fields()
    for section, kind in SECTIONS.items():
        parts += ["", f"## {_TITLES[section]}", ""]
        parts += ["| name | values | default | what |", "| --- | --- | --- | --- |"]
        for name in kind.model_fields:
            field = known[name]
            what = (field.description or "").replace("|", "\\|").replace("<br />", "`<br />`")
            parts.append(f"| `{name}` | {_values(field)} | `{field.default!r}` | {what} |")
    return "\n".join(parts) + "\n"


def _values(field: Any) -> str:
    """Return which values a field takes: its choices, or its type and bounds."""
    annotation = field.annotation
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(annotation))
    kinds = typing.get_args(annotation)
    if isinstance(annotation, types.UnionType):
        text = " or ".join("none" if kind is type(None) else kind.__name__ for kind in kinds)
    else:
        text = annotation.__name__
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [
        f"{sign} {getattr(constraint, name):g}"
        for constraint in field.metadata
        for name, sign in signs.items()
        if hasattr(constraint, name)
    ]
    return " ".join([text, ", ".join(bounds)]).strip()


if __name__ == "__main__":
    cli.run(main)
