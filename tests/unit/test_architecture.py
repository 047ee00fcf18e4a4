"""The map in docs/architecture.md names every package, and every module of those it lists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = re.findall(
    r"^\| `((?:sentiment|sweeps)/[\w/]+)/` \| .+? \| (.*) \|$",
    (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def test_every_package_has_a_row() -> None:
    packages = {
        path.parent.relative_to(ROOT).as_posix()
        for top in ("sentiment", "sweeps")
        for path in (ROOT / top).glob("*/__init__.py")
    }
    assert {package for package, _ in ROWS} == packages


@pytest.mark.parametrize(("package", "listed"), ROWS)
def test_a_row_names_all_modules(package: str, listed: str) -> None:
    modules = {path.stem for path in (ROOT / package).glob("*.py") if path.stem != "__init__"}
    folders = {f"{path.parent.name}/" for path in (ROOT / package).glob("*/__init__.py")}
    assert set(re.findall(r"`([\w/]+)`", listed)) == modules | folders
