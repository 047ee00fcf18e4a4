"""A real sweep with finalists and a refit: its runs, its registered model, and its resumption."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from real_sweep import SPACE, command

from sentiment.inference.bundle import Bundle
from sentiment.tracking.model_uri import fetch_bundle


@pytest.fixture(scope="module")
def final(tmp_path_factory):
    """A sweep of three trials with two finalists."""
    folder = tmp_path_factory.mktemp("finalists")
    (folder / "space.yaml").write_text(SPACE)
    arguments = ["--dataset", "rotten-tomatoes", "--trials", "3", "--max-epochs", "0.5", "--json"]
    arguments += ["--space", "space.yaml", "--finalists", "2", "--final-epochs", "0.75"]
    done = command("sweeps.launch", *arguments, "--ngrams", "2", "--name", "finals", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout), MlflowClient(f"sqlite:///{folder}/mlflow.db")


def runs_by_role(client):
    experiment = client.get_experiment_by_name("sentiment")
    roles = {}
    for run in client.search_runs([experiment.experiment_id]):
        roles.setdefault(run.data.tags["sweep.role"], []).append(run)
    return roles


def test_trials_are_rnns_and_finalists_have_the_branch(final):
    _, _, client = final
    roles = runs_by_role(client)
    assert {role: len(runs) for role, runs in roles.items() if role != "baseline"} == {
        "sweep": 1,
        "trial": 3,
        "finalist": 2,
        "refit": 1,
    }
    assert {run.data.params["ngrams"] for run in roles["trial"]} == {"0"}
    for run in roles["finalist"]:
        assert run.data.params["ngrams"] == "2"
        assert run.data.params["epochs"] == "0.75"
        assert run.data.metrics["parameters/ngrams"] > 10_000
        assert run.data.metrics["valid/ngrams_accuracy"] > 0.75
        assert run.data.metrics["best/valid/accuracy"] > 0.75


def test_the_refit_is_scored_once_and_registered(final):
    _, result, client = final
    roles = runs_by_role(client)
    (refit,) = roles["refit"]
    assert result["winner"]["role"] == "refit"
    assert result["winner"]["run_id"] == refit.info.run_id
    assert result["test"]["test/accuracy"] == refit.data.metrics["test/accuracy"] > 0.74
    # It has seen the texts of validation, so it has no metric of them.
    assert not any("valid/" in name for name in refit.data.metrics)
    for run in roles["trial"] + roles["finalist"]:
        assert not any(name.startswith("test/") for name in run.data.metrics)
    version = client.get_model_version_by_alias("sentiment", "challenger")
    assert version.run_id == refit.info.run_id
    chosen = min(roles["finalist"], key=lambda run: run.data.metrics["best/valid/loss"])
    key = chosen.data.tags["sweep.finalist"]
    assert refit.data.tags["sweep.refit"] == key.replace("finalist", "refit")
    assert f"{chosen.data.metrics['best/valid/accuracy']:.4f}" in version.description


def test_the_registered_model_reads_ngrams(final):
    _, result, client = final
    model_id = client.get_run(result["winner"]["run_id"]).outputs.model_outputs[0].model_id
    bundle = Bundle.load(fetch_bundle(client, model_id))
    assert bundle.config.model.ngrams == 2
    words = list(bundle.vocabulary.itos[2:])
    pairs = {tuple(words[rank] for rank in ngram) for ngram in bundle.ngrams.table.ngrams()}
    assert ("too", "long") in pairs
    good, bad = bundle.predict(["a moving and beautiful film", "a dull mess , too long"])[:, 1]
    assert good > 0.7 > 0.3 > bad


def test_it_is_reported_and_promoted(final):
    folder, result, client = final
    report = command("sweeps.report", cwd=folder)
    assert report.returncode == 0, report.stderr
    assert "finalist" in report.stdout
    parent = client.get_run(result["run_id"])
    page = Path(client.download_artifacts(parent.info.run_id, "report.html", str(folder)))
    shown = page.read_text(encoding="utf-8")
    assert "N-grams with the largest weights for each class" in shown
    assert "mistakes in all both parts made" in shown
    assert "against nb-logistic" in shown
    assert parent.data.metrics["baseline/test_accuracy"] > 0.72
    assert result["baseline"]["baseline/p_value"] == parent.data.metrics["baseline/p_value"]
    promoted = command("sweeps.promote", "--sweep", "finals", "--yes", cwd=folder)
    assert promoted.returncode == 0, promoted.stderr + promoted.stdout
    said = command("sentiment.predict", "--json", "a moving and beautiful film", cwd=folder)
    assert json.loads(said.stdout)["label"] == "pos"
    assert result["version"] == 1


def test_more_trials_train_no_finalist_twice(final):
    folder, _, client = final
    before = runs_by_role(client)
    done = command("sweeps.launch", "--resume", "finals", "--trials", "4", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    after = runs_by_role(client)
    assert len(after["trial"]) == 4
    (baseline,) = after["baseline"]
    assert baseline.info.run_id == before["baseline"][0].info.run_id
    assert baseline.info.end_time == before["baseline"][0].info.end_time
    known = {run.info.run_id: run.info.end_time for run in before["finalist"] + before["refit"]}
    for run in after["finalist"] + after["refit"]:
        assert known.get(run.info.run_id, run.info.end_time) == run.info.end_time
