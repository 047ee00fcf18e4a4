"""A folder in the working folder that is named like a package, under an editable installation."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from sentiment.installation import PACKAGE, hidden_code

CHECKOUT = PACKAGE.parent


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with this checkout installed as `pip install --editable` does it."""
    editable = pytest.importorskip("setuptools.command.editable_wheel")
    folder = tmp_path_factory.mktemp("editable")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "dependencies.pth").write_text("\n".join(dependencies))
    mapping = {name: str(CHECKOUT / name) for name in ("sentiment", "sweeps")}
    finder = editable._finder_template("editable_finder", mapping, {})
    (packages / "editable_finder.py").write_text(finder)
    (packages / "editable.pth").write_text("import editable_finder; editable_finder.install()")
    return folder / "bin/python"


def run(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_recipes_are_found_beside_a_folder_of_the_users(python: Path, tmp_path: Path) -> None:
    (tmp_path / "sentiment/reviews").mkdir(parents=True)
    (tmp_path / "sentiment/notes.py").touch()  # like no module of this project
    (tmp_path / "sweeps").mkdir()
    done = run(python, tmp_path, "-m", "sentiment.train", "--list-recipes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nlstm-1 " in done.stdout


def test_what_leaves_the_process_is_this_projects_code(
    python: Path, tmp_path: Path, make_bundle
) -> None:
    (tmp_path / "sentiment").mkdir()
    (tmp_path / "sweeps").mkdir()
    code = f"""
import json, sys
from pathlib import Path
import sentiment, sentiment.tracking.runs
from sweeps.execution.ray_cluster import CODE
assert sentiment.__file__ is None, sentiment.__file__
sentiment.tracking.logged_model.save_mlflow_model(Path({str(make_bundle(0))!r}), Path("model"))
print(json.dumps(CODE))
"""
    done = run(python, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [str(CHECKOUT / "sentiment"), str(CHECKOUT / "sweeps")]
    saved = {path.name for path in (tmp_path / "model/code/sentiment").glob("*.py")}
    assert saved == {path.name for path in PACKAGE.glob("*.py")}


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("sentiment/config.py", "sentiment.config"),
        ("sentiment/inference.py", "sentiment.inference"),
        ("sentiment/data", "sentiment.data"),
        ("sentiment/__init__.py", "sentiment"),
        ("sweeps/execution.py", "sweeps.execution"),
        ("sweeps/__init__.py", "sweeps"),
    ],
)
def test_files_that_hide_a_module_are_named(
    file: str, module: str, python: Path, tmp_path: Path
) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    if file.endswith(".py"):
        (tmp_path / file).touch()
    else:
        (tmp_path / file).mkdir()
    done = run(python, tmp_path, "-m", "sweeps.launch", "--trials", "2")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {tmp_path / file} hides the module {module} of this project: rename it or its "
        "folder, or run the command in another folder\n"
    )


def test_nothing_is_hidden_here() -> None:
    assert hidden_code() is None


@pytest.mark.slow
def test_a_sweep_runs_beside_a_folder_of_the_users(python: Path, tmp_path: Path) -> None:
    (tmp_path / "sentiment").mkdir()
    rows = [f"{('bad', 'good')[i % 2]} film number {i},{('neg', 'pos')[i % 2]}" for i in range(200)]
    (tmp_path / "r.csv").write_text("\n".join(["text,label", *rows]))
    flags = ["--trials", "3", "--max-epochs", "1", "--concurrency", "1", "--data", "r.csv"]
    done = run(python, tmp_path, "-m", "sweeps.launch", *flags)
    assert done.returncode == 0, done.stderr + done.stdout
    done = run(python, tmp_path, "-m", "sweeps.promote", "--yes")
    assert done.returncode == 0, done.stderr + done.stdout
