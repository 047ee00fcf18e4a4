"""A real sweep with an ensemble: one model is made of the refits, scored once, registered and
promoted, and predicts; and the same where a kill comes between."""

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from real_sweep import command, command_here

import sentiment
from sentiment.inference.ensemble import Ensemble, combined, load_model
from sentiment.tracking.model_uri import fetch_bundle
from sweeps.tracking.queries import find_sweep, trials_of

SPACE = """
cell: gru
hidden_dim: 16
embedding: {choice: [glove, word2vec]}
optimizer: adam
learning_rate: 0.01
"""
ARGUMENTS = ["--dataset", "rotten-tomatoes", "--trials", "2", "--max-epochs", "0.5"]
ARGUMENTS += ["--scheduler", "fifo", "--space", "space.yaml", "--no-baseline", "--ngrams", "1"]
ARGUMENTS += ["--finalists", "2", "--final-epochs", "0.5", "--ensemble", "2", "--name", "together"]
ARGUMENTS += ["--concurrency", "1"]
TEXTS = ["a moving and beautiful film", "a dull mess , too long"]


def swept(folder, result, said):
    """Client and result of a sweep, its runs by their keys, and what it said."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("sentiment")
    runs = trials_of(client, find_sweep(client, [experiment.experiment_id], "together"))
    return client, json.loads(result), {run.key: run for run in runs}, said


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The sweep, and its folder."""
    folder = tmp_path_factory.mktemp("ensemble")
    (folder / "space.yaml").write_text(SPACE)
    done = command_here("sweeps.launch", *ARGUMENTS, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, *swept(folder, done.stdout, done.stderr)


def has_begun(database):
    """Whether the run of an ensemble is in a store."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(database)) as store:
        return bool(store.execute("SELECT 1 FROM tags WHERE key = 'sweep.ensemble'").fetchall())
    return False


@pytest.mark.slow
def test_a_kill_while_it_is_recorded_leaves_one(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    launch = [sys.executable, "-m", "sweeps.launch", *ARGUMENTS]
    with (tmp_path / "output.txt").open("w") as printed:
        process = subprocess.Popen(launch, cwd=tmp_path, stdout=printed, stderr=printed)
        while process.poll() is None and not has_begun(tmp_path / "mlflow.db"):
            time.sleep(0.05)
        process.kill()
        process.wait()
    assert not swept(tmp_path, "{}", "")[0].search_registered_models()
    done = command("sweeps.launch", "--resume", "together", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    check_record(*swept(tmp_path, done.stdout, done.stderr))


def test_it_is_recorded_once_and_alone_scored_on_the_test_split(together):
    check_record(*together[1:])


def check_record(client, result, runs, said):
    roles = sorted(run.role for run in runs.values())
    assert roles == ["ensemble", *["finalist"] * 2, *["refit"] * 2, *["trial"] * 2]
    (ensemble,) = (run for run in runs.values() if run.role == "ensemble")
    assert (ensemble.outcome, client.get_run(ensemble.run_id).info.status) == (
        "completed",
        "FINISHED",
    )
    assert len(client.get_run(ensemble.run_id).outputs.model_outputs) == 1
    assert result["winner"]["run_id"] == ensemble.run_id
    assert [run.key for run in runs.values() if "test/loss" in run.metrics] == [ensemble.key]
    assert len(client.get_metric_history(ensemble.run_id, "test/loss")) == 1
    assert sum(member.weight for member in ensemble.members) == pytest.approx(1)
    # Validation judged the members before they were refit on it.
    assert ensemble.metrics["best/valid/loss"] < ensemble.members[0].loss
    for member in ensemble.members:
        assert member.loss == pytest.approx(runs[member.key].metrics["best/valid/loss"], abs=1e-3)
    version = client.get_model_version("sentiment", "1")
    assert version.run_id == ensemble.run_id
    for text in (said, version.description):
        assert "ensemble of 2 models: on validation loss" in text
        assert ensemble.members[1].title in text


def test_it_is_the_mean_of_its_refits(together):
    _, client, _, runs, _ = together
    (ensemble,) = (run for run in runs.values() if run.role == "ensemble")
    model = load_model(fetch_bundle(client, ensemble.model_id))
    assert isinstance(model, Ensemble)
    members = [
        load_model(
            fetch_bundle(client, runs[member.key.replace("finalist", "refit")].model_id)
        ).log_probabilities(TEXTS)
        for member in ensemble.members
    ]
    weights = [member.weight for member in ensemble.members]
    assert np.array_equal(model.log_probabilities(TEXTS), combined(members, weights))


def test_it_is_reported_promoted_and_predicts(together):
    folder, client, result, runs, _ = together
    page = Path(client.download_artifacts(result["run_id"], "report.html", str(folder)))
    shown = page.read_text(encoding="utf-8")
    assert "The members of the ensemble of 2 models" in shown
    assert "each trained again on train and validation together" in shown
    promoted = command_here("sweeps.promote", "--yes", cwd=folder)
    assert promoted.returncode == 0, promoted.stdout + promoted.stderr
    assert "version 1 of sentiment is the champion" in promoted.stdout
    champion = sentiment.load(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    (ensemble,) = (run for run in runs.values() if run.role == "ensemble")
    expected = load_model(fetch_bundle(client, ensemble.model_id)).predict(TEXTS)
    assert champion.predict_proba(TEXTS) == pytest.approx(expected, abs=1e-5)
    for text, row in zip(TEXTS, expected, strict=True):
        found = champion.explain(text)
        assert list(found.probabilities.values()) == pytest.approx(row, abs=1e-5)
        total = found.bias + found.residual + sum(each.weight for each in found.tokens)
        assert total == pytest.approx(found.logit, abs=1e-9)
