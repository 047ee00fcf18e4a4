"""A whole search with `--scheduler pbt`, also killed in the middle of it, and resumed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from launched import launch, recorded
from optuna.trial import TrialState

from sentiment.tracking.model_uri import MODEL_TAG
from sentiment.tracking.store import open_store
from sweeps.reporting.publish import REPORT_FILE
from sweeps.search.rungs import TURNS
from sweeps.tracking.queries import artifact_text, intermediate_values
from sweeps.tracking.takeovers import TAKEOVERS_TAG

TRIALS = 5
SEARCH = [
    *("--dataset", "rotten-tomatoes", "--trials", str(TRIALS), "--max-epochs", "0.5"),
    *("--scheduler", "pbt", "--name", "night", "--no-baseline"),
    *("--set", "hidden_dim=16", "embedding=random"),
]


@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_population_is_recorded_as_it_was_trained(killed: bool, tmp_path: Path) -> None:
    with launch(tmp_path, *SEARCH) as search:
        if killed:
            while taken_over(tmp_path) < 2:
                assert search.poll() is None, search.communicate()
                time.sleep(0.2)
            search.kill()
        output, told = search.communicate()
    if killed:
        with launch(tmp_path, "--resume", "night") as search:
            output, told = search.communicate()
    assert search.returncode == 0, told
    assert json.loads(output)["sweep"] == "night"

    client, parent, trials, study = recorded(tmp_path, "night")
    assert [trial.key for trial in trials] == list(range(TRIALS))
    assert {trial.outcome for trial in trials} == {"completed"}
    assert len(study.trials) == TRIALS
    taken = 0
    for trial, told_trial in zip(trials, study.trials, strict=True):
        assert told_trial.state == TrialState.COMPLETE
        values = intermediate_values(client, trial.run_id, "valid/accuracy")
        assert len(values) == TURNS
        assert values == told_trial.intermediate_values
        assert trial.metrics["best/valid/accuracy"] == told_trial.value
        run = client.get_run(trial.run_id)
        # The run's parameters are those that the trial began with.
        assert float(run.data.params["learning_rate"]) == told_trial.params["learning_rate"]
        if trial.takeovers:
            assert (
                trial.parameters["learning_rate"] == trial.takeovers[-1].settings["learning_rate"]
            )
        taken += len(trial.takeovers)
        assert all(each.donor != trial.key for each in trial.takeovers)
    assert taken >= TURNS - 1
    assert client.get_run(trials[0].run_id).data.tags.get(MODEL_TAG) is None
    report = artifact_text(client, parent.info.run_id, REPORT_FILE)
    assert "A gap in a bar: there the trial took over the weights of another." in report


def taken_over(folder: Path) -> int:
    """Return how many trials have taken over others' weights by the record."""
    if not (folder / "mlflow.db").exists():
        return 0
    client, experiment = open_store(f"sqlite:///{folder / 'mlflow.db'}")
    runs = client.search_runs([experiment], "tags.sweep.role = 'trial'")
    return sum(TAKEOVERS_TAG in run.data.tags for run in runs)
