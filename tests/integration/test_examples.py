"""The examples run as they are, each in a folder of its own, and print what they promise."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sentiment
import sweeps
from sentiment.errors import InputError

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, folder: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    environment["PYTHONPATH"] = str(EXAMPLES.parent)
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("example")
    return folder, run("first_sweep.py", folder)


def test_every_example_is_run_here() -> None:
    tested = set(re.findall(r'"(\w+\.py)"', Path(__file__).read_text()))
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested
    assert [path.name for path in EXAMPLES.glob("*.ipynb")] == ["first_sweep.ipynb"]


def test_first_sweep(swept: tuple[Path, str]) -> None:
    _, output = swept
    found = re.search(r"best: .+, test accuracy (0\.\d+)", output)
    assert found
    assert float(found[1]) > 0.74
    assert re.search(r"^pos [01]\.\d\d\nneg [01]\.\d\d$", output, re.MULTILINE)


def test_the_notebook_over_the_same_sweep(
    swept: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its cells, but for the sweep itself, which is that of the script: test_notebook runs it."""
    monkeypatch.chdir(swept[0])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sweeps, "run", lambda **settings: sweeps.load())
    cells = json.loads((EXAMPLES / "first_sweep.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert sources[0].splitlines()[-1].strip() in (EXAMPLES / "first_sweep.py").read_text()
    for source in sources:
        exec(source, names)
    accuracy = names["best"].metrics["test/accuracy"]
    output = capsys.readouterr().out
    assert f"{names['best'].name}: test accuracy {accuracy:.4f}\n" in output
    assert re.search(r"^pos [01]\.\d\d\nneg [01]\.\d\d$", output, re.MULTILINE)


def test_what_is_read_back_is_what_ran(swept: tuple[Path, str]) -> None:
    folder, output = swept
    uri = f"sqlite:///{folder}/mlflow.db"
    sweep = sweeps.load(tracking_uri=uri)
    table = sweep.to_frame()
    trials = table[table["role"] == "trial"]
    assert sorted(trials["trial"]) == [0, 1, 2, 3]
    assert list(trials["rank"]) == [1, 2, 3, 4]
    assert trials["best/valid/accuracy"].is_monotonic_decreasing
    assert set(table["role"]) == {"trial", "finalist", "refit", "baseline"}
    assert sweep.best.role == "refit"
    assert f"best: {sweep.best.name}, " in output
    assert sweeps.load(sweep.name, tracking_uri=uri).best.run_id == sweep.best.run_id
    with pytest.raises(InputError, match="there is no sweep 'nothing'"):
        sweeps.load("nothing", tracking_uri=uri)

    model = sweep.load()
    texts = ["This film is great", "A dull, endless mess"]
    (first, second) = model.predict(texts)
    assert sum(first.probabilities.values()) == pytest.approx(1.0, abs=1e-6)
    assert first.probability == max(first.probabilities.values())
    assert model.predict_proba(texts).shape == (2, 2)
    assert model.predict(texts[1:])[0].probability == pytest.approx(second.probability, abs=1e-5)
    registered = sentiment.load("models:/sentiment/1", uri).predict(texts)
    assert registered == [first, second]
    with pytest.raises(TypeError, match="give a list of texts"):
        model.predict("one text")
    with pytest.raises(TypeError, match="text 1 must be a string, not float"):
        model.predict(["a", float("nan")])


def test_serve_and_ask(swept: tuple[Path, str]) -> None:
    folder, _ = swept
    output = run("serve_and_ask.py", folder)
    assert "version 1" in output
    assert re.search(r"\{'label': '(neg|pos)', 'probability': 0\.\d+\}", output)


def test_own_data(tmp_path: Path) -> None:
    output = run("own_data.py", tmp_path)
    assert re.search(r"macro F1 on the test split: [01]\.\d+", output)
    assert "Prediction(label='billing'" in output


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trails": 3}, "unknown setting 'trails': did you mean trials?"),
        ({"sampler": "tpee"}, "there is no such sampler; did you mean tpe?"),
        ({"trials": 0}, "--trials 0: give 1 or more"),
        ({"overrides": {"hidden": 3}}, "unknown hyperparameter 'hidden'"),
        ({"data": "nowhere.csv"}, "nowhere.csv"),
    ],
)
def test_wrong_settings_are_exceptions(
    settings: dict[str, object],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError) as refused:
        sweeps.run(**settings)
    assert message in str(refused.value)
    assert list(tmp_path.iterdir()) == []
