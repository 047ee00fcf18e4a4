"""The examples run as they are, each in a folder of its own, and print what they promise.

The first one's sweep has finalists and a refit: its runs, its registered model, and its resumption
are looked at here too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from real_sweep import command_here, copy_sweep

import sentiment
import sweeps
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.tracking.model_uri import fetch_bundle
from sweeps import report

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
def first_sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("example")
    return folder, run("first_sweep.py", folder)


def test_every_example_is_run_here() -> None:
    tested = set(re.findall(r'"(\w+\.py)"', Path(__file__).read_text()))
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested
    assert [path.name for path in EXAMPLES.glob("*.ipynb")] == ["first_sweep.ipynb"]


def test_first_sweep(first_sweep: tuple[Path, str]) -> None:
    _, output = first_sweep
    found = re.search(r"best: .+, test accuracy (0\.\d+)", output)
    assert found
    assert float(found[1]) > 0.74
    assert re.search(r"^pos [01]\.\d\d\nneg [01]\.\d\d$", output, re.MULTILINE)


def test_the_notebook_over_the_same_sweep(
    first_sweep: tuple[Path, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its cells, but for the sweep itself, which is that of the script: test_notebook runs it."""
    monkeypatch.chdir(first_sweep[0])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sweeps, "run", lambda **settings: sweeps.load())
    cells = json.loads((EXAMPLES / "first_sweep.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for source in sources:
        exec(source, names)
    accuracy = names["best"].metrics["test/accuracy"]
    output = capsys.readouterr().out
    assert f"{names['best'].name}: test accuracy {accuracy:.4f}\n" in output
    assert re.search(r"^pos [01]\.\d\d\nneg [01]\.\d\d$", output, re.MULTILINE)


def test_the_leaderboard_begins_with_what_is_registered(
    first_sweep: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///{first_sweep[0]}/mlflow.db"
    (refit,) = runs_by_role(client_of(first_sweep[0]))["refit"]
    report.main(["--tracking-uri", uri, "--no-page", "--top", "1"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    outcomes = ["refit", "finalist", "finalist", "completed", "baseline"]
    assert [line[-1] for line in lines[2:7]] == outcomes
    assert f"{refit.data.metrics['test/accuracy']:.4f}" in lines[2]
    assert lines[7] == ["…", "and", "3", "more", "trials:", "--top,", "or", "the", "page"]


def test_what_is_read_back_is_what_ran(first_sweep: tuple[Path, str]) -> None:
    folder, output = first_sweep
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


def test_serve_and_ask(first_sweep: tuple[Path, str]) -> None:
    folder, _ = first_sweep
    output = run("serve_and_ask.py", folder)
    assert "version 1" in output
    assert re.search(r"\{'label': '(neg|pos)', 'probability': 0\.\d+\}", output)


def client_of(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder}/mlflow.db")


def runs_by_role(client: MlflowClient) -> dict[str, list[Run]]:
    experiment = client.get_experiment_by_name("sentiment")
    roles: dict[str, list[Run]] = {}
    for run in client.search_runs([experiment.experiment_id]):
        roles.setdefault(run.data.tags["sweep.role"], []).append(run)
    return roles


def test_trials_are_rnns_and_finalists_have_the_branch(first_sweep: tuple[Path, str]) -> None:
    roles = runs_by_role(client_of(first_sweep[0]))
    assert {role: len(runs) for role, runs in roles.items() if role != "baseline"} == {
        "sweep": 1,
        "trial": 4,
        "finalist": 2,
        "refit": 1,
    }
    assert {run.data.params["ngrams"] for run in roles["trial"]} == {"0"}
    for run in roles["finalist"]:
        assert run.data.params["ngrams"] == "3"
        assert run.data.params["epochs"] == "2.0"
        assert run.data.metrics["parameters/ngrams"] > 10_000
        assert run.data.metrics["valid/ngrams_accuracy"] > 0.75
        assert run.data.metrics["best/valid/accuracy"] > 0.75


def test_the_refit_is_scored_once_and_registered(first_sweep: tuple[Path, str]) -> None:
    client = client_of(first_sweep[0])
    roles = runs_by_role(client)
    (refit,) = roles["refit"]
    version = client.get_model_version_by_alias("sentiment", "challenger")
    assert version.run_id == refit.info.run_id
    assert f"test accuracy {refit.data.metrics['test/accuracy']:.4f}\n" in first_sweep[1]
    # It has seen the texts of validation, so it has no metric of them.
    assert not any("valid/" in name for name in refit.data.metrics)
    for run in roles["trial"] + roles["finalist"]:
        assert not any(name.startswith("test/") for name in run.data.metrics)
    chosen = min(roles["finalist"], key=lambda run: run.data.metrics["best/valid/loss"])
    key = chosen.data.tags["sweep.finalist"]
    assert refit.data.tags["sweep.refit"] == key.replace("finalist", "refit")
    assert f"{chosen.data.metrics['best/valid/accuracy']:.4f}" in version.description


def test_the_registered_model_reads_ngrams(first_sweep: tuple[Path, str]) -> None:
    client = client_of(first_sweep[0])
    (refit,) = runs_by_role(client)["refit"]
    bundle = Bundle.load(fetch_bundle(client, refit.outputs.model_outputs[0].model_id))
    assert bundle.config.model.ngrams == 3
    words = list(bundle.vocabulary.itos[2:])
    ngrams = {tuple(words[rank] for rank in ngram) for ngram in bundle.ngrams.table.ngrams()}
    assert ("too", "long") in ngrams
    good, bad = bundle.predict(["a moving and beautiful film", "a dull mess , too long"])[:, 1]
    assert good > 0.7 > 0.3 > bad


@pytest.fixture
def copied(first_sweep: tuple[Path, str], tmp_path: Path) -> tuple[Path, MlflowClient]:
    """A copy of its folder, for what changes the record."""
    copy_sweep(first_sweep[0], tmp_path)
    return tmp_path, client_of(tmp_path)


def test_it_is_reported_and_promoted(copied: tuple[Path, MlflowClient]) -> None:
    folder, client = copied
    report = command_here("sweeps.report", cwd=folder)
    assert report.returncode == 0, report.stderr
    roles = runs_by_role(client)
    for run in roles["trial"] + roles["baseline"]:
        assert run.info.run_name in report.stdout
    (parent,) = roles["sweep"]
    page = Path(client.download_artifacts(parent.info.run_id, "report.html", str(folder)))
    shown = page.read_text(encoding="utf-8")
    assert "N-grams with the largest weights for each class" in shown
    assert "mistakes in all both parts made" in shown
    assert "against nb-logistic" in shown
    assert parent.data.metrics["baseline/test_accuracy"] > 0.72
    name = parent.data.tags["sweep.name"]
    promoted = command_here("sweeps.promote", "--sweep", name, "--yes", cwd=folder)
    assert promoted.returncode == 0, promoted.stderr + promoted.stdout
    said = command_here("sentiment.predict", "--json", "a moving and beautiful film", cwd=folder)
    assert json.loads(said.stdout)["label"] == "pos"


def test_more_trials_train_no_finalist_twice(copied: tuple[Path, MlflowClient]) -> None:
    folder, client = copied
    before = runs_by_role(client)
    done = command_here("sweeps.launch", "--resume", "--trials", "5", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    after = runs_by_role(client)
    assert len(after["trial"]) == 5
    (baseline,) = after["baseline"]
    assert baseline.info.run_id == before["baseline"][0].info.run_id
    assert baseline.info.end_time == before["baseline"][0].info.end_time
    known = {run.info.run_id: run.info.end_time for run in before["finalist"] + before["refit"]}
    for run in after["finalist"] + after["refit"]:
        assert known.get(run.info.run_id, run.info.end_time) == run.info.end_time
    result = json.loads(done.stdout)
    assert result["winner"]["role"] == "refit"
    assert result["winner"]["run_id"] in {run.info.run_id for run in after["refit"]}
    (parent,) = after["sweep"]
    assert result["baseline"]["baseline/p_value"] == parent.data.metrics["baseline/p_value"]


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
