"""The main job on real reviews: a real sweep through Ray, Optuna, MLflow, registry, prediction."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import mlflow.pyfunc
import optuna
import pandas as pd
import psutil
import pytest
from mlflow import MlflowClient
from real_sweep import KEPT, TRIALS, command, command_here

import sweeps
from sentiment.config import SECTION_OF
from sentiment.data.datasets import DataConfig, load_dataset
from sentiment.errors import InputError
from sentiment.inference.bundle import Bundle
from sentiment.inference.evaluation import score_split
from sentiment.inference.metrics import score
from sentiment.tracking.model_uri import fetch_bundle, model_of_version
from sweeps.launch import main
from sweeps.registry.look_count import count_looks
from sweeps.registry.recorded_predictions import read_predictions
from sweeps.trials.outcomes import budget_sentence

METRICS = {
    "train/loss",
    "train/accuracy",
    "valid/loss",
    "valid/accuracy",
    "valid/f1",
    "epoch",
    "learning_rate",
    "tokens_per_second",
}
ONCE = {
    "best/valid/accuracy",
    "best/valid/loss",
    "best/valid/f1",
    "best/examples",
    "parameters/total",
    "parameters/trainable",
    "parameters/embedding",
    "parameters/recurrent",
    "parameters/head",
    "seconds/total",
}


def test_the_sweeps_run_tells_how_it_ended(swept):
    parent = swept.parent
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == parent.data.tags["sweep.name"] == "first"
    assert parent.data.tags["sweep.state"] == "finished"
    outcomes = [run.data.tags["sweep.outcome"] for run in swept.trials]
    metrics = parent.data.metrics
    for outcome in ("completed", "stopped_early", "out_of_time", "failed"):
        assert metrics[f"sweep/{outcome}"] == outcomes.count(outcome)
    assert metrics["sweep/best"] == max(r.data.metrics["best/valid/accuracy"] for r in swept.trials)
    history = swept.client.get_metric_history(parent.info.run_id, "sweep/best")
    assert [metric.step for metric in history] == list(range(1, TRIALS + 1))
    files = {file.path for file in swept.client.list_artifacts(parent.info.run_id)}
    assert {"space.yaml", "leaderboard.csv", "report.html", "plots"} <= files


def test_each_trial_is_one_run_with_all_of_the_contract(swept):
    assert [int(run.data.tags["sweep.trial"]) for run in swept.trials] == list(range(TRIALS))
    for number, run in enumerate(swept.trials):
        tags, params = run.data.tags, run.data.params
        assert tags["mlflow.parentRunId"] == swept.parent.info.run_id
        assert (tags["sweep.role"], tags["sweep.name"]) == ("trial", "first")
        assert tags["sweep.outcome"] in ("completed", "stopped_early")
        assert run.info.status == "FINISHED"
        assert set(SECTION_OF) <= set(params)
        assert params["dataset"] == "rotten-tomatoes"
        assert params["dataset_fingerprint"] == swept.parent.data.params["dataset_fingerprint"]
        assert int(params["seed"]) == 1234 + number
        assert set(run.data.metrics) >= METRICS | ONCE
        assert run.info.run_name.startswith(f"{number:03d} ")
        parts = ("embedding", "recurrent", "head")
        total = sum(run.data.metrics[f"parameters/{part}"] for part in parts)
        assert run.data.metrics["parameters/total"] == total


def test_metrics_stand_at_examples_seen_once_each(swept):
    for run in swept.trials:
        history = swept.client.get_metric_history(run.info.run_id, "valid/accuracy")
        steps = [metric.step for metric in history if metric.step]
        assert sorted(set(steps)) == steps
        epochs = swept.client.get_metric_history(run.info.run_id, "epoch")
        assert [e.step for e in epochs] == steps
        for epoch in epochs:
            assert epoch.value == pytest.approx(epoch.step / 5_970)
        best = max(metric.value for metric in history)
        assert run.data.metrics["best/valid/accuracy"] == best
        finished = steps[-1] >= 1.5 * 5_970
        assert run.data.tags["sweep.outcome"] == ("completed" if finished else "stopped_early")


def test_optuna_was_told_the_same(swept):
    study = optuna.load_study(
        study_name="first", storage=f"sqlite:///{swept.folder}/.sweeps/first/study.db"
    )
    assert study.metric_names == ["valid/accuracy"]
    assert [t.user_attrs["mlflow_run_id"] for t in study.trials] == [
        run.info.run_id for run in swept.trials
    ]
    states = {"completed": "COMPLETE", "stopped_early": "PRUNED"}
    for run, trial in zip(swept.trials, study.trials, strict=True):
        assert trial.state.name == states[run.data.tags["sweep.outcome"]]
        assert trial.intermediate_values
        best = run.data.metrics["best/valid/accuracy"]
        assert max(trial.intermediate_values.values()) == best
        if trial.state.name == "COMPLETE":
            assert trial.value == best


def test_the_test_split_is_scored_on_the_winner_alone(swept):
    scored = [run for run in swept.trials if any(m.startswith("test/") for m in run.data.metrics)]
    best = max(run.data.metrics["best/valid/accuracy"] for run in swept.trials)
    (winner,) = scored
    assert winner.data.metrics["best/valid/accuracy"] == best
    assert winner.info.run_id == swept.result["winner"]["run_id"]
    version = swept.client.get_model_version_by_alias("sentiment", "challenger")
    assert version.run_id == winner.info.run_id
    assert winner.data.metrics["test/accuracy"] == swept.result["test"]["test/accuracy"]
    bundle = Bundle.load(fetch_bundle(swept.client, model_of_version(version)))
    dataset = load_dataset(DataConfig(dataset="rotten-tomatoes"))
    again = score_split(bundle, dataset, "test")
    assert again.accuracy == winner.data.metrics["test/accuracy"]
    # Text by text it is kept, so that a promotion need not look again.
    model_id = model_of_version(version)
    kept = read_predictions(
        swept.client,
        winner.info.run_id,
        model_id,
        fingerprint=dataset.fingerprint,
        model_checksum=version.tags["checksums_sha256"],
    )
    assert kept is not None
    assert kept.label_names == dataset.label_names
    scores = score(kept.log_probabilities, dataset.splits["test"].labels)
    assert scores.metrics("test") == {
        name: winner.data.metrics[name] for name in ("test/loss", "test/accuracy", "test/f1")
    }
    assert count_looks(swept.client, "sentiment", dataset.fingerprint) == 1
    assert swept.result["test_looks"] == 1
    assert swept.result["challenger"]["reason"] == "first"
    assert version.tags["objective"] == "valid/accuracy"
    assert float(version.tags["best/valid/accuracy"]) == best


def test_the_leaderboard_ranks_by_validation(swept):
    path = swept.client.download_artifacts(
        swept.parent.info.run_id, "leaderboard.csv", str(swept.folder)
    )
    table = pd.read_csv(path)
    assert table["role"].tolist() == ["trial"] * TRIALS + ["confirmation"] * 2 + ["baseline"]
    table = table[table["role"] == "trial"]
    assert table["rank"].tolist() == list(range(1, TRIALS + 1))
    assert table["model_id"].notna().tolist() == [True] * KEPT + [False] * (TRIALS - KEPT)
    assert table["best/valid/accuracy"].is_monotonic_decreasing


def test_every_trial_left_a_logged_model_that_takes_raw_text(swept, global_store):
    global_store(f"sqlite:///{swept.folder}/mlflow.db")
    texts = ["This film is great", "a dull and lifeless mess", ""]
    kept = [run for run in swept.trials if run.data.tags.get("sweep.model") != "removed"]
    for run in kept[:2]:
        (output,) = run.outputs.model_outputs
        loaded = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
        answers = loaded.predict(pd.DataFrame({"text": texts}))
        bundle = Bundle.load(fetch_bundle(swept.client, output.model_id))
        expected = bundle.predict(texts)
        assert answers["label"].tolist() == [bundle.label_names[i] for i in expected.argmax(axis=1)]
        assert answers["probability"].to_numpy() == pytest.approx(expected.max(axis=1), abs=1e-5)
    assert all(len(run.outputs.model_outputs) == 1 for run in swept.trials)


def test_the_output_leads_on(swept):
    for part in (
        "space space.yaml",
        f"{TRIALS}/{TRIALS} trials ended",
        "test split, scored once",
        "python -m sweeps.promote",
        "python -m sweeps.ui",
        "all trials in MLflow, the best first, while python -m sweeps.ui runs:\n"
        "  http://127.0.0.1:5000/#/"
        "experiments/1/runs?workflowType=machine_learning&viewStateShareKey=sweep-first\n",
    ):
        assert part in swept.output
    assert "Configuration for experiment" not in swept.output
    assert "Traceback" not in swept.output


def test_the_winner_is_trained_again_with_other_seeds(swept):
    winner = next(r for r in swept.trials if r.info.run_id == swept.result["winner"]["run_id"])
    seed = int(winner.data.params["seed"])
    assert len(swept.confirmations) == 2
    for number, run in enumerate(swept.confirmations, start=1):
        tags, metrics = run.data.tags, run.data.metrics
        assert run.info.status == "FINISHED"
        assert tags["sweep.outcome"] == "completed"
        assert tags["mlflow.parentRunId"] == swept.parent.info.run_id
        assert tags["sweep.trial"] == winner.data.tags["sweep.trial"]
        assert run.data.params == {**winner.data.params, "seed": str(seed + number)}
        assert run.info.run_name.endswith(f"seed {seed + number}")
        assert 1.5 <= metrics["epoch"] < 1.52  # never stopped early
        assert set(metrics) >= METRICS | ONCE | {"test/accuracy", "test/loss", "test/f1"}
    found = swept.parent.data.metrics
    assert found["confirmation/seeds"] == 2
    for name, recorded in (("test/accuracy",) * 2, ("valid/accuracy", "best/valid/accuracy")):
        values = [run.data.metrics[recorded] for run in swept.confirmations]
        assert found[f"confirmation/{name}/mean"] == pytest.approx(sum(values) / 2)
        deviation = abs(values[0] - values[1]) / 2**0.5
        assert found[f"confirmation/{name}/sd"] == pytest.approx(deviation)
    mean = f"{found['confirmation/test/accuracy/mean']:.4f} ±"
    version = swept.client.get_model_version_by_alias("sentiment", "challenger")
    for text in (swept.output, version.description, swept.parent.data.tags["mlflow.note.content"]):
        assert "2 other seeds" in text
        assert mean in text
    assert swept.result["confirmation"]["confirmation/seeds"] == 2


def test_models_of_the_best_are_kept(swept):
    ranked = sorted(swept.trials, key=lambda run: -run.data.metrics["best/valid/accuracy"])
    removed = [run.data.tags.get("sweep.model") == "removed" for run in ranked]
    assert removed == [False] * KEPT + [True] * (TRIALS - KEPT)
    left = swept.client.search_logged_models([swept.parent.info.experiment_id])
    sources = {model.source_run_id for model in left}
    assert {run.info.run_id for run in ranked[:KEPT] + swept.confirmations} == sources
    found = (swept.folder / "mlruns").glob("**/m-*")
    folders = {path.name for path in found if path.is_dir()}
    assert folders == {model.model_id for model in left}
    assert f"removed the models of {TRIALS - KEPT} trials" in swept.output
    assert swept.result["models"] == {"kept": KEPT, "removed": TRIALS - KEPT}


def test_the_data_is_an_input_of_every_run(swept):
    fingerprint = swept.parent.data.params["dataset_fingerprint"]
    for run in (swept.parent, *swept.trials, *swept.confirmations):
        (found,) = run.inputs.dataset_inputs
        assert (found.dataset.name, found.dataset.digest) == ("rotten-tomatoes", fingerprint[:12])
        assert json.loads(found.dataset.profile)["num_rows"] == 8530


def test_descriptions_tell_the_story(swept):
    text = swept.parent.data.tags["mlflow.note.content"]
    winner = next(r for r in swept.trials if r.info.run_id == swept.result["winner"]["run_id"])
    experiment = swept.parent.info.experiment_id
    for part in (
        f"A search of {TRIALS} trials for the best valid/accuracy on **rotten-tomatoes**",
        f"[{winner.info.run_name}](#/experiments/{experiment}/runs/{winner.info.run_id}",
        "[version 1 of sentiment](#/models/sentiment/versions/1)",
        f"accuracy {swept.result['test']['test/accuracy']:.4f}",
        "### The best 5",
        "python -m sweeps.promote --sweep first",
        "| `momentum` | 0 to 0.9; where `optimizer` is sgd |",
        "python -m sweeps.launch --dataset rotten-tomatoes",
        "python -m sentiment.train --threads 1 --dataset rotten-tomatoes --set",
    ):
        assert part in text
    version = swept.client.get_model_version_by_alias("sentiment", "challenger")
    assert version.description.startswith(f"Best of {TRIALS} trials on rotten-tomatoes")
    assert swept.parent.info.run_id in version.description
    for heading in ("Intended use", "By label, on test", "By length, on test", "Known limits"):
        assert f"### {heading}\n" in version.description
    assert "`champion`" in swept.client.get_registered_model("sentiment").description


def test_system_metrics_of_the_workers_are_recorded_on_request(swept):
    for run in swept.trials:
        metrics = run.data.metrics
        assert 0 <= metrics["system/cpu_utilization_percentage"] <= 100
        assert metrics["system/process_memory_megabytes"] > 100


def test_promoted_it_answers(swept):
    promoted = command_here("sweeps.promote", "--yes", cwd=swept.folder)
    assert promoted.returncode == 0, promoted.stderr
    assert "float32; scored before\n" in promoted.stdout
    assert "this test split was scored once for models of sentiment" in promoted.stdout
    asked = command_here(
        "sentiment.predict", "--json", cwd=swept.folder, input="a great film\n\nbad\n"
    )
    assert asked.returncode == 0, asked.stderr
    answers = [json.loads(line) for line in asked.stdout.splitlines()]
    assert len(answers) == 3
    champion = swept.client.get_model_version_by_alias("sentiment", "champion")
    expected = Bundle.load(fetch_bundle(swept.client, model_of_version(champion))).predict(
        ["a great film", "", "bad"]
    )
    for answer, row in zip(answers, expected, strict=True):
        assert answer["probability"] == pytest.approx(row.max(), abs=1e-5)
        assert answer["probabilities"]["pos"] == pytest.approx(row[1], abs=1e-5)
    scored = command_here(
        "sentiment.evaluate", "--dataset", "rotten-tomatoes", "--json", cwd=swept.folder
    )
    recorded = swept.result["test"]["test/accuracy"]
    assert json.loads(scored.stdout)["test/accuracy"] == recorded


def test_warm_start_and_time_budget(swept, monkeypatch, capsys):
    # Trials that last longer than the budget, and that no other stops: some run at its end.
    arguments = ["--dataset", "rotten-tomatoes", "--trials", "40", "--max-epochs", "60"]
    arguments += ["--scheduler", "fifo"]
    arguments += ["--space", "space.yaml", "--name", "second", "--warm-start", "first", "--quiet"]
    arguments += ["--finalists", "0", "--no-baseline"]
    done = command_here("sweeps.launch", *arguments, "--time-budget", "5s", cwd=swept.folder)
    assert done.returncode == 0, done.stderr
    assert f"{TRIALS} trials used, 0 outside" in done.stdout
    runs = swept.client.search_runs(
        [swept.parent.info.experiment_id], "tags.`sweep.name` = 'second'"
    )
    assert {run.info.status for run in runs} == {"FINISHED"}
    trials = [run for run in runs if run.data.tags["sweep.role"] == "trial"]
    assert {run.data.tags["sweep.role"] for run in runs} == {"sweep", "trial"}
    assert 1 < len(trials) < 40
    outcomes = [run.data.tags["sweep.outcome"] for run in trials]
    assert set(outcomes) <= {"completed", "stopped_early", "out_of_time"}
    assert 1 <= outcomes.count("out_of_time") <= os.cpu_count()
    study = optuna.load_study(
        study_name="second", storage=f"sqlite:///{swept.folder}/.sweeps/second/study.db"
    )
    assert len(study.trials) == TRIALS + len(trials)
    assert {trial.state.name for trial in study.trials} <= {"COMPLETE", "PRUNED"}
    ended = {trial.user_attrs["trial"]: trial for trial in study.trials[TRIALS:]}
    for run in trials:
        trial = ended[int(run.data.tags["sweep.trial"])]
        cut = run.data.tags["sweep.outcome"] == "out_of_time"
        assert trial.user_attrs.get("ended_by") == ("time budget" if cut else None)
        assert trial.user_attrs["mlflow_run_id"] == run.info.run_id

    # It is said wherever there is something to read.
    (parent,) = [run for run in runs if run.data.tags["sweep.role"] == "sweep"]
    assert parent.data.params["time_budget"] == "5.0"
    assert parent.data.metrics["sweep/out_of_time"] == outcomes.count("out_of_time")
    sentence = budget_sentence(5, 40, outcomes)
    assert f"{40 - len(trials)} of 40 trials did not run" in sentence
    assert sentence in done.stdout
    assert sentence in parent.data.tags["mlflow.note.content"]
    version = swept.client.search_model_versions(f"run_id = '{best_of(trials).info.run_id}'")
    assert version[0].description.startswith(f"Best of {len(trials)} trials on")
    page = swept.client.download_artifacts(parent.info.run_id, "report.html", str(swept.folder))
    assert sentence in Path(page).read_text()
    assert f"{outcomes.count('out_of_time')} out of time" in Path(page).read_text()

    # The trials that ended stay as they are, the others may run.
    monkeypatch.chdir(swept.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match=r"trials already, and the \d that ran out of time stay"):
        main(["--resume", "second", "--trials", str(len(trials))])
    before = {path: path.stat().st_size for path in swept.folder.glob(".sweeps/second/*")}
    assert main(["--resume", "second", "--time-budget", "1h", "--dry-run"]) == 0
    plan = capsys.readouterr().out
    assert f"resumed: {len(trials)} of 40 trials have ended, 0 interrupted" in plan
    assert f"{40 - len(trials)} new" in plan
    assert "the next 5 suggestions" in plan
    assert f"  {len(trials):03d} cell=" in plan
    assert "  000 cell=" not in plan
    assert "time budget: 60 minutes" in plan
    assert {path: path.stat().st_size for path in swept.folder.glob(".sweeps/second/*")} == before


def best_of(runs):
    """Return the best run; of equals the one with the lower number, as the sweep chooses it."""
    return max(
        runs,
        key=lambda run: (
            run.data.metrics["best/valid/accuracy"],
            -int(run.data.tags["sweep.trial"]),
        ),
    )


def test_trials_that_blow_up_are_recorded_as_failed(swept):
    arguments = ["--dataset", "rotten-tomatoes", "--trials", "2", "--space", "space.yaml"]
    wild = ["--set", "optimizer=sgd", "learning_rate=1e38", "--name", "wild", "--quiet"]
    wild += ["--concurrency", "1"]
    done = command_here("sweeps.launch", *arguments, *wild, cwd=swept.folder)
    assert done.returncode == 1
    assert "failed: sentiment.errors.TrainingError: the loss is not finite" in done.stdout
    assert "no trial got as far as an evaluation" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    runs = swept.client.search_runs([swept.parent.info.experiment_id], "tags.`sweep.name` = 'wild'")
    trials = [run for run in runs if run.data.tags["sweep.role"] == "trial"]
    assert len(trials) == 2
    for run in trials:
        assert (run.info.status, run.data.tags["sweep.outcome"]) == ("FAILED", "failed")
        path = swept.client.download_artifacts(run.info.run_id, "error.txt", str(swept.folder))
        assert "the loss is not finite at step" in Path(path).read_text()
    (parent,) = [run for run in runs if run not in trials]
    assert (parent.info.status, parent.data.metrics["sweep/failed"]) == ("FINISHED", 2)
    study = optuna.load_study(
        study_name="wild", storage=f"sqlite:///{swept.folder}/.sweeps/wild/study.db"
    )
    assert [trial.state.name for trial in study.trials] == ["FAIL", "FAIL"]


@pytest.fixture(scope="module")
def interrupted(swept):
    """A sweep that has met Control-C, and where it listened before."""
    arguments = ["--dataset", "rotten-tomatoes", "--trials", "4", "--max-epochs", "4"]
    arguments += ["--space", "space.yaml", "--name", "stopped", "--scheduler", "fifo"]
    arguments += ["--no-baseline"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeps.launch", *arguments],
        cwd=swept.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        experiments = [swept.parent.info.experiment_id]
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            runs = swept.client.search_runs(
                experiments, "tags.`sweep.name` = 'stopped' and metrics.epoch > 0"
            )
            if runs:
                break
            time.sleep(0.5)
        assert runs, "no trial got as far as an evaluation"
        listening = _listening(process.pid)
        os.kill(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
    return SimpleNamespace(listening=listening, output=output, status=process.returncode)


def _listening(pid):
    """Return where a process and all that it started listen: names and addresses."""
    driver = psutil.Process(pid)
    sockets = set()
    for process in (driver, *driver.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            sockets |= {
                (process.name(), connection.laddr.ip)
                for connection in process.net_connections(kind="inet")
                if not connection.raddr
            }
    return sockets


def test_while_it_runs_no_other_machine_can_connect(interrupted):
    names = {name for name, _ in interrupted.listening}
    assert {"gcs_server", "raylet"} < names
    assert any(name.startswith("ray::") for name in names)
    for name, address in interrupted.listening:
        assert ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback, (name, address)


def test_control_c_leaves_a_whole_record(swept, interrupted):
    assert interrupted.status == 130, interrupted.output
    assert "Traceback" not in interrupted.output
    runs = swept.client.search_runs(
        [swept.parent.info.experiment_id], "tags.`sweep.name` = 'stopped'"
    )
    assert {run.info.status for run in runs} == {"KILLED"}
    parent = next(run for run in runs if run.data.tags["sweep.role"] == "sweep")
    assert parent.data.tags["sweep.state"] == "interrupted"
    outcomes = {run.data.tags["sweep.outcome"] for run in runs if run is not parent}
    assert outcomes <= {"interrupted", "stopped_early", "completed"}


RESUME = """
import sweeps

sweep = sweeps.run(resume="stopped", quiet=True)
print(sweep.name, sweep.run.data.tags["sweep.state"], sorted(sweep.to_frame()["trial"]))
"""


def test_an_interrupted_sweep_goes_on_in_its_runs(swept, interrupted):
    """From Python, after the interruption above: the trials asked for, each step once."""

    def runs():
        return swept.client.search_runs(
            [swept.parent.info.experiment_id], "tags.`sweep.name` = 'stopped'"
        )

    begun = {run.info.run_id for run in runs()}
    done = subprocess.run(
        [sys.executable, "-c", RESUME],
        cwd=swept.folder,
        env={name: v for name, v in os.environ.items() if name != "MLFLOW_TRACKING_URI"},
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "sweep stopped: resumed, " in done.stdout
    assert done.stdout.splitlines()[-1] == "stopped finished [0, 1, 2, 3]"
    assert begun <= {run.info.run_id for run in runs()}
    assert {run.info.status for run in runs()} == {"FINISHED"}
    trials = [run for run in runs() if run.data.tags["sweep.role"] == "trial"]
    assert sorted(int(run.data.tags["sweep.trial"]) for run in trials) == [0, 1, 2, 3]
    for run in trials:
        history = swept.client.get_metric_history(run.info.run_id, "valid/accuracy")
        steps = [metric.step for metric in history]
        assert len(steps) == len(set(steps)) > 0


@pytest.mark.slow
def test_an_interrupted_confirmation_goes_on(tmp_path):
    arguments = ["--dataset", "rotten-tomatoes", "--trials", "2", "--max-epochs", "2"]
    arguments += ["--set", "cell=gru", "hidden_dim=16", "embedding=glove", "--name", "confirmed"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeps.launch", *arguments, "--final-seeds", "4"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        begun = next((line for line in process.stdout if line.startswith("confirmation:")), None)
        assert begun, "there was no confirmation"
        client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
        confirming = "tags.`sweep.role` = 'confirmation'"
        while not client.search_runs(["1"], f"{confirming} and metrics.epoch > 0"):
            assert process.poll() is None
            time.sleep(0.3)
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode == 130
    interrupted = {run.info.run_id for run in client.search_runs(["1"], confirming)}
    done = command("sweeps.launch", "--resume", "confirmed", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = client.search_runs(["1"], confirming)
    assert interrupted <= {run.info.run_id for run in runs}
    assert len(runs) == 4
    for run in runs:
        assert run.data.tags["sweep.outcome"] == "completed"
        assert "test/accuracy" in run.data.metrics
        steps = [m.step for m in client.get_metric_history(run.info.run_id, "valid/accuracy")]
        assert len(steps) == len(set(steps)) > 0
    (parent,) = client.search_runs(["1"], "tags.`sweep.role` = 'sweep'")
    assert parent.data.metrics["confirmation/seeds"] == 4


def test_a_warm_start_from_other_data_tries_its_best_settings_first(
    swept, tmp_path, monkeypatch, capsys
):
    rows = [f"film {'x' * i},{i % 2}" for i in range(60)]
    (tmp_path / "own.csv").write_text("\n".join(["text,label", *rows]))
    monkeypatch.chdir(swept.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    arguments = ["--data", str(tmp_path / "own.csv"), "--trials", "6", "--warm-start", "first"]
    assert main([*arguments, "--space", "space.yaml", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (told,) = [line for line in lines if line.startswith("warm start:")]
    assert told.endswith("of first, on other data (rotten-tomatoes), are tried first")
    best = max(swept.trials, key=lambda run: run.data.metrics["best/valid/accuracy"])
    start = lines.index(next(line for line in lines if line.startswith("the first ")))
    suggested = " ".join(lines[start + 1 : start + 4])
    assert f"cell={best.data.params['cell']}" in suggested.split("001")[0]
    with pytest.raises(InputError, match=r"other data .*none of them lie in this space"):
        main([*arguments, "--dry-run", "--set", "batch_size=7"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume", "stopped", "--sampler", "random"], "--sampler random: a resumed sweep"),
        (["--resume", "stopped", "--trials", "2"], "it has 4 trials already"),
        (["--resume", "stopped"], "it has 4 trials already"),
        (["--resume", "frist"], "there is no sweep 'frist': did you mean first"),
        (["--resume", "nothing"], "there is no sweep 'nothing'; the newest is"),
        (["--warm-start", "nothing"], "--warm-start nothing: there is no sweep 'nothing'"),
        (
            ["--resume", "stopped", "--set", "cell=gru", "--set", "dropout=0.3"],
            "--set cell=gru dropout=0.3: a resumed sweep keeps its own; leave it out",
        ),
        (["--resume", "stopped", "--baselines"], "^--baselines: a resumed sweep keeps"),
        (["--name", "stopped"], "there is a sweep of that name"),
    ],
)
def test_what_can_not_be_resumed_is_told(swept, arguments, message, monkeypatch):
    monkeypatch.chdir(swept.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match=message):
        main(["--quiet", *arguments])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resume": "stopped", "sampler": "random"}, "--sampler random: a resumed sweep"),
        ({"resume": "stopped", "trials": 2}, "it has 4 trials already"),
        ({"resume": "frist"}, "there is no sweep 'frist': did you mean first"),
        (
            {"resume": "stopped", "overrides": {"cell": "gru"}},
            "--set cell=gru: a resumed sweep keeps its own; leave it out",
        ),
        ({"resume": ""}, "resume='': give the name of a sweep, or True for the newest"),
    ],
)
def test_what_can_not_be_resumed_is_raised(swept, settings, message, monkeypatch):
    monkeypatch.chdir(swept.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match=message):
        sweeps.run(**settings)


WRONG = [
    (["--trials", "0"], "--trials 0"),
    (["--dataset", "imdb25k"], "did you mean imdb-25k"),
    (["--sampler", "grid"], "--sampler grid: there is no such sampler; there are: tpe, random"),
    (["--sampler", "TPEE"], "--sampler TPEE: there is no such sampler; did you mean tpe?"),
    (["--scheduler", "halving"], "--scheduler halving: there is no such scheduler; there are"),
    (["--objective", "accuracy"], "--objective accuracy: .* did you mean valid/accuracy?"),
    (["--objective", "latency"], "--objective latency: the first objective is what trials are"),
    (["--limit", "latency=5ms"], "--limit latency=5ms: .* add --objective latency"),
    (["--precision", "float16"], "--precision float16: .* did you mean bfloat16?"),
    (["--tirals", "3"], "unrecognized arguments: --tirals 3: did you mean --trials?"),
    (["--space", "nowhere.yaml"], "nowhere.yaml"),
    (["--set", "wings=2"], "hyperparameter 'wings'"),
    (["--set", "cell=qrnn"], "qrnn"),
    (["--set", "epochs=3"], "--max-epochs"),
    (["--gpus-per-trial", "64"], "GPUs are here"),
    (["--concurrency", "1000"], "--concurrency 1000"),
    (["--time-budget", "soon"], "--time-budget soon"),
    (["--max-epochs", "-1"], "--max-epochs"),
    (["--name", "../up"], "--name"),
    (["--seed", "-1"], "--seed"),
    (["--ngrams", "9"], "--ngrams 9: input should be less than or equal to 5"),
    (["--final-epochs", "nan"], "--final-epochs nan: give a finite number"),
    (["--warm-start", "nothing"], "no such store|no sweep"),
    (["--language", "xx-yy"], "language"),
    (["--set", "embedding=nowhere.vec"], "nowhere.vec"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_input_is_told_and_leaves_nothing(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match=message) as told:
        main(["--dataset", "rotten-tomatoes", "--quiet", *arguments])
    assert len(str(told.value).splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


def test_wrong_input_is_exit_status_2_without_a_traceback(tmp_path):
    (tmp_path / "space.yaml").write_text("dropout: {float: [0.5, 0.1]}\n")
    done = command("sweeps.launch", "--space", "space.yaml", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: space.yaml: dropout")
    assert [path.name for path in tmp_path.iterdir()] == ["space.yaml"]


def test_dry_run_says_what_became_of_the_rows(tmp_path, monkeypatch, capsys):
    rows = [f"film {'x' * i},{('0', '1.0')[i % 2]}" for i in range(60)]
    (tmp_path / "own.csv").write_text("\n".join(["text,label", *rows, ",1", "film,nan"]))
    monkeypatch.chdir(tmp_path)
    arguments = ["--data", "own.csv", "--dry-run", "--trials", "1"]
    with pytest.raises(InputError, match=r"2 of 62 rows are incomplete(.|\n)*--skip-incomplete"):
        main(arguments)
    assert main([*arguments, "--skip-incomplete"]) == 0
    text = capsys.readouterr().out
    for part in (
        "own.csv: 62 rows read, 2 skipped: 1 without a text, 1 with the label 'nan'\n",
        "own.csv train: 42 texts: neg (21), pos (21)\n",
        "labels: neg (30), pos (30)\n",
        "lengths: the shortest texts have 5, 6, 7 characters, the longest 62, 63, 64\n",
    ):
        assert part in text
    # So few texts are trained on for more epochs than many would be.
    assert "budget: 1,680 training examples a trial" in text
    assert "are few to learn from" not in text
    assert main([*arguments, "--skip-incomplete", "--max-epochs", "1.5"]) == 0
    few = (
        "warning: 1.5 epochs of 42 texts are few to learn from, so trials can hardly be told apart:"
    )
    told = " ".join(capsys.readouterr().out.split())
    assert f"{few} leave --max-epochs at its default of 40" in told
    assert [path.name for path in tmp_path.iterdir()] == ["own.csv"]


def test_dry_run_says_what_became_of_texts_without_labels(tmp_path, monkeypatch, capsys):
    rows = [f"film {'x' * i},{i % 2}" for i in range(60)]
    (tmp_path / "own.csv").write_text("\n".join(["text,label", *rows]))
    (tmp_path / "more.csv").write_text("\n".join(["text", "new", '""', rows[0].partition(",")[0]]))
    monkeypatch.chdir(tmp_path)
    arguments = ["--data", "own.csv", "--unlabelled", "more.csv", "--dry-run", "--trials", "1"]
    assert main([*arguments, "--label-share", "0.5"]) == 0
    text = capsys.readouterr().out
    for part in (
        "more.csv: 3 rows read, 1 skipped: 1 without a text\n",
        "more.csv: 1 text left unsup, it stands in ",
        "own.csv: 21 of 42 texts of train keep their labels, 21 went to unsup (--label-share 0.5)",
        "own.csv unsup: 22 texts\n",
    ):
        assert part in text
    with pytest.raises(
        InputError, match=r"--label-share 0\.01: of 42 texts .* give 0\.036 or more"
    ):
        main([*arguments, "--label-share", "0.01"])
    assert {path.name for path in tmp_path.iterdir()} == {"own.csv", "more.csv"}


def test_half_a_character_never_reaches_a_trial(tmp_path, monkeypatch):
    rows = [json.dumps({"text": f"film \ud800 {i}", "label": i % 2}) for i in range(60)]
    (tmp_path / "own.jsonl").write_text("\n".join(rows))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="60 with half a surrogate pair"):
        main(["--data", "own.jsonl", "--trials", "1"])
    assert [path.name for path in tmp_path.iterdir()] == ["own.jsonl"]


def test_dry_run_prints_the_plan_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["--dataset", "rotten-tomatoes", "--dry-run", "--max-epochs", "3"]
    assert main([*arguments, "--ensemble", "3"]) == 0
    text = capsys.readouterr().out
    for part in (
        "space cpu",
        "rotten-tomatoes train: 5,970 texts: neg (2,985), pos (2,985)",
        "labels: neg (4,265), pos (4,265)",
        "lengths: the shortest texts have ",
        "budget: 17,910 training examples a trial; at 2,238, 4,477, 8,955 examples the weaker half "
        "ends (asha)",
        "  cell:",
        "the first 5 suggestions",
        "  004 cell=",
        "ensemble: up to 3 of 2 finalists and 10 trials, where that gains on validation",
        "refit: the best finalist, or each member of the ensemble, again on",
        "time: about",
    ):
        assert part in text
    assert list(tmp_path.iterdir()) == []
