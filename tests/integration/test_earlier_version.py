"""A store that an earlier version wrote: opened, served, promoted and resumed by this one.

`tests/support/earlier-version.tar.xz` was written by the version of commit 9737062, before modules
moved into packages, from 160 generated rows: the sweep `first` (two trials, ended), the sweep
`halted` (two trials, killed after their first evaluations), and `predictions.json`, what the first
version of the registered model answered to eight texts.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from mlflow import MlflowClient
from real_sweep import command_here

KEPT = Path(__file__).parents[1] / "support" / "earlier-version.tar.xz"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store, moved to a folder of the test's own."""
    place = tmp_path_factory.mktemp("earlier")
    with tarfile.open(KEPT) as archive:
        archive.extractall(place, filter="data")
    output = run(place, "sweeps.clean", "--relocate")
    assert "2 experiments, 6 runs, 2 models, 1 registered version" in output
    return place


def run(folder: Path, module: str, *arguments: str, stdin: str = "") -> str:
    done = command_here(module, *arguments, cwd=folder, input=stdin)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


def client_of(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder}/mlflow.db")


def runs_of(folder: Path, sweep: str, role: str) -> dict[str, object]:
    found = client_of(folder).search_runs(
        ["1"], f"tags.`sweep.name` = '{sweep}' and tags.`sweep.role` = '{role}'"
    )
    return {each.data.tags.get("sweep.trial", role): each for each in found}


def test_kept_store_is_small() -> None:
    assert KEPT.stat().st_size < 300_000


def test_record_opens(folder: Path) -> None:
    (sweep,) = json.loads(run(folder, "sweeps.report", "first", "--json"))["sweeps"]
    (parent,) = runs_of(folder, "first", "sweep").values()
    assert parent.data.metrics["sweep/completed"] == 2
    assert len(sweep["trials"]) == 2
    best = max(trial["best/valid/accuracy"] for trial in sweep["trials"])
    assert best == parent.data.metrics["sweep/best"]
    assert Path(client_of(folder).download_artifacts(parent.info.run_id, "report.html")).exists()


def test_model_answers_as_before(folder: Path) -> None:
    expected = json.loads((folder / "predictions.json").read_text())
    texts = "".join(each["text"] + "\n" for each in expected)
    lines = run(
        folder, "sentiment.predict", "--model", "models:/sentiment/1", "--json", stdin=texts
    ).splitlines()
    assert len(lines) == len(expected) == 8
    for line, each in zip(lines, expected, strict=True):
        assert json.loads(line)["probabilities"] == pytest.approx(each["probabilities"], abs=1e-6)


def test_interrupted_sweep_resumes_and_its_version_is_promoted(folder: Path) -> None:
    before = runs_of(folder, "halted", "trial")
    assert {each.data.tags.get("sweep.outcome") for each in before.values()} <= {
        None,
        "interrupted",  # closed by the report
    }
    result = json.loads(run(folder, "sweeps.launch", "--resume", "halted", "--json"))
    after = runs_of(folder, "halted", "trial")
    assert {n: each.info.run_id for n, each in before.items()} == {
        n: each.info.run_id for n, each in after.items()
    }
    assert {each.data.tags["sweep.outcome"] for each in after.values()} == {"completed"}
    for each in after.values():
        steps = [
            point.step
            for point in client_of(folder).get_metric_history(each.info.run_id, "valid/loss")
        ]
        assert len(steps) == len(set(steps)) == 257  # all of them, though interrupted
    version = str(result["version"])
    output = run(folder, "sweeps.promote", "--version", version, "--dry-run")
    assert f"would make version {version} the champion" in output
