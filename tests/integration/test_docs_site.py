"""The site of docs/: every page is in its menu, and the reference has what the packages export."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import sentiment
import sweeps

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SETTINGS = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
REFERENCE = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def test_every_page_is_in_the_menu_once() -> None:
    menu = SETTINGS[SETTINGS.index("\nnav:") : SETTINGS.index("\nnot_in_nav:")]
    listed = re.findall(r"[\w/-]+\.md", menu)
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert sorted(listed) == sorted(page for page in pages if not page.startswith("decisions/0"))


def test_every_decision_is_in_their_list() -> None:
    listed = re.findall(r"\((\d+-[\w-]+\.md)\)", (DOCS / "decisions/README.md").read_text())
    assert listed == sorted(path.name for path in (DOCS / "decisions").glob("0*.md"))


def test_the_reference_has_all_exports() -> None:
    exported = {
        f"{package.__name__}.{name}" for package in (sentiment, sweeps) for name in package.__all__
    }
    assert exported <= set(REFERENCE)


@pytest.mark.parametrize("name", REFERENCE)
def test_what_the_reference_names_is_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert getattr(import_module(module), attribute).__doc__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files(page: Path) -> None:
    """As they are read in the checkout; those of docs/ stay in it, since the site has no more."""
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    for link in links:
        if "://" in link:
            continue
        target = (page.parent / link).resolve()
        assert target.exists(), link
        assert page.parent == ROOT or target.is_relative_to(DOCS), link


def test_no_font_is_fetched() -> None:
    assert re.search(r"^  font: false", SETTINGS, re.MULTILINE)


@pytest.mark.slow
def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    if find_spec("mkdocs") is None:
        pytest.skip("the extra docs is not installed: make docs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    reference = (tmp_path / "api.html").read_text(encoding="utf-8")
    assert 'id="sweeps.run"' in reference
    assert "time_budget" in reference
    fetched = re.findall(r'<(?:script|link rel="stylesheet")[^>]+(?:src|href)="([^"]+)"', reference)
    assert fetched
    assert not [address for address in fetched if "//" in address]
