"""The built wheel, away from the checkout: what it holds, and that it works."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy: a build leaves files beside the sources.
    source = tmp_path_factory.mktemp("source") / "project"
    source.mkdir()
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "sentiment", "sweeps", "pyproject.toml", "README.md", "LICENSE"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, tracked):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--quiet"]
    subprocess.run([*command, "--wheel-dir", str(folder)], cwd=source, check=True, timeout=300)
    (built,) = folder.glob("sentiment_sweeps-*.whl")
    return built


def run(wheel: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the wheel's contents and the packages installed here, not the checkout."""
    target = folder / "installed"
    if not target.exists():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
    packages = [path for path in sys.path if path.endswith("site-packages")]
    packages.append(sysconfig.get_path("purelib"))
    # -S: the checkout's own .pth is not read.
    code = f"import sys; sys.path[1:1] = {[str(target), *packages, str(folder)]!r}; "
    module, *rest = arguments
    code += f"sys.argv = {[module, *rest]!r}; import runpy; "
    code += f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    elsewhere = {n: value for n, value in os.environ.items() if not n.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=folder,
        env=elsewhere,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_it_holds_what_is_no_module_too(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "sentiment/py.typed",
        "sweeps/py.typed",
        "sentiment/nn/recurrence.c",
        "sentiment/recipes/bilstm-1.yaml",
        "sweeps/space/cpu.yaml",
        "sweeps/space/gpu.yaml",
        "sweeps/space/pbt.yaml",
        "sentiment/ngrams/fit.py",
        "sweeps/pipeline/stages/finalists.py",
    ):
        assert name in names
    assert any(name.startswith("sweeps/reporting/templates/") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests", "benchmarks", "screenshots")) for name in names)
    (entry,) = [name for name in names if name.endswith("entry_points.txt")]
    points = zipfile.ZipFile(wheel).read(entry).decode()
    assert "sentiment-sweeps = sweeps.__main__:script" in points


def test_it_works_away_from_the_checkout(wheel: Path, tmp_path: Path, make_bundle) -> None:
    model = make_bundle(3)
    said = run(wheel, tmp_path, "sweeps", "predict", "--model", str(model), "this film is great")
    assert said.returncode == 0, said.stderr
    assert said.stdout.split()[0] in ("neg", "pos")
    (tmp_path / "where.py").write_text("import sentiment, sweeps\nprint(sentiment, sweeps)\n")
    where = run(wheel, tmp_path, "where")
    assert where.stdout.count(str(tmp_path / "installed")) == 2, where.stderr
    assert str(ROOT) not in where.stdout
    listed = run(wheel, tmp_path, "sentiment.train", "--list-recipes")
    assert "bilstm-1" in listed.stdout, listed.stderr
