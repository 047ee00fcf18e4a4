"""Whole sweeps for a Pareto front: their record, their study, and their winner within limits."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from launched import ended, launch
from mlflow import MlflowClient
from optuna.study import load_study
from optuna.trial import TrialState

import sweeps
from sweeps.objectives import METRICS, Objectives, pareto_front

SPACE = """
cell: {choice: [rnn, gru]}
hidden_dim: {int: [8, 16]}
embedding_dim: {choice: [16, 64]}
embedding: random
learning_rate: 0.01
enqueue:
- {cell: gru, hidden_dim: 16, embedding_dim: 64}
- {cell: gru, hidden_dim: 8, embedding_dim: 16}
"""
SEARCH = ["--dataset", "rotten-tomatoes", "--space", "space.yaml", "--no-baseline"]
OBJECTIVES = ["--objective", "valid/accuracy", "--objective", "latency"]
SMALL = 230_000
"""Parameters between a model of 16 dimensions and the same with n-grams or of 64."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "space.yaml").write_text(SPACE)
    return tmp_path


def test_a_sweep_finds_a_front_and_a_winner_within_its_limits(folder: Path) -> None:
    limits = ["--limit", "latency=1s", "--limit", f"parameters={SMALL}"]
    options = ["--trials", "4", "--max-epochs", "0.5", "--finalists", "1", "--ngrams", "1"]
    with launch(
        folder, *SEARCH, *OBJECTIVES, "--objective", "parameters", *limits, *options
    ) as process:
        output, told = process.communicate()
    assert process.returncode == 0, told
    result = json.loads(output)

    sweep = sweeps.load(result["sweep"], f"sqlite:///{folder / 'mlflow.db'}")
    objectives = Objectives.of_run(sweep.run.data.params)
    assert objectives.names == ("valid/accuracy", "latency", "parameters")
    assert [limit.most for limit in objectives.limits] == [1000, SMALL]
    trials = [trial for trial in sweep.trials if trial.role == "trial"]
    assert len(trials) == 4
    for trial in trials:
        assert 0 < trial.metrics[METRICS["latency"]] < 1000
    large, small = trials[:2]
    assert large.metrics[METRICS["parameters"]] > SMALL > small.metrics[METRICS["parameters"]]

    # A finalist has n-grams too, with which it exceeds the limit.
    (finalist,) = (trial for trial in sweep.trials if trial.role == "finalist")
    assert METRICS["latency"] in finalist.metrics
    assert finalist.metrics[METRICS["parameters"]] > SMALL
    assert f"{finalist.name} is left out: parameters" in told
    within = [t for t in trials if t.metrics[METRICS["parameters"]] <= SMALL]
    best = max(within, key=lambda trial: trial.metrics["best/valid/accuracy"])
    assert result["winner"]["role"] == "trial"
    winner = trials[result["winner"]["trial"]]
    assert winner.metrics["best/valid/accuracy"] == best.metrics["best/valid/accuracy"]
    assert sweep.best.run_id == winner.run_id == result["winner"]["run_id"]

    front = pareto_front(trials, lambda trial: objectives.point(trial.metrics))
    assert {trial.key for trial in sweep.front} == {trial.key for trial in front}
    assert [each["trial"] for each in result["front"]] == [trial.key for trial in sweep.front]
    assert f"the Pareto front of {objectives}" in told
    page = Path(MlflowClient(sweep.uri).download_artifacts(sweep.run.info.run_id, "report.html"))
    assert 'id="front"' in page.read_text()

    study = load_study(
        study_name=sweep.name,
        storage=f"sqlite:///{folder / '.sweeps' / sweep.name / 'study.db'}",
    )
    assert study.metric_names == list(objectives.names)
    for told_trial, trial in zip(study.trials, trials, strict=True):
        costs = [trial.metrics[METRICS[name]] for name in objectives.further]
        shares = [
            cost / limit.most - 1 for cost, limit in zip(costs, objectives.limits, strict=True)
        ]
        assert list(told_trial.constraints.values()) == pytest.approx(shares)
        if told_trial.state == TrialState.COMPLETE:
            accuracy = trial.metrics["best/valid/accuracy"]
            assert told_trial.values == pytest.approx([accuracy, *costs])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "scheduler"), [("nsga2", "asha"), ("tpe", "median"), ("tpe", "hyperband")]
)
def test_a_search_for_a_front_is_killed_and_resumed(
    sampler: str, scheduler: str, folder: Path
) -> None:
    options = ["--trials", "16", "--max-epochs", "0.6", "--finalists", "0", "--name", "night"]
    options += ["--sampler", sampler, "--scheduler", scheduler, "--objective", "seconds"]
    with launch(folder, *SEARCH, *OBJECTIVES[:2], *options) as process:
        while ended(folder) < 4:
            assert process.poll() is None, process.communicate()
            time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with launch(folder, "--resume", "night") as process:
        output, told = process.communicate()
    assert process.returncode == 0, told
    study = folder / ".sweeps" / "night" / "study.db"
    trials = load_study(study_name="night", storage=f"sqlite:///{study}").trials
    assert [trial.user_attrs["trial"] for trial in trials] == list(range(16))
    assert json.loads(output)["outcomes"].get("failed", 0) == 0
    assert json.loads(output)["front"]


@pytest.mark.slow
def test_without_a_trial_within_the_limits_the_nearest_is_named(folder: Path) -> None:
    limits = ["--limit", "latency=1us", "--trials", "3", "--max-epochs", "0.3"]
    with launch(folder, *SEARCH, *OBJECTIVES, *limits, "--finalists", "1") as process:
        output, told = process.communicate()
    assert process.returncode == 1
    assert "no trial is within latency=1us, so nothing is registered; the nearest is " in told
    result = json.loads(output)
    assert result["winner"] is None
    assert result["front"]
