"""Whole searches under each scheduler that stops trials, interrupted and resumed."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from launched import ended, launch, recorded
from optuna.trial import TrialState

TRIALS = 12
SEARCH = [
    *("--dataset", "rotten-tomatoes", "--trials", str(TRIALS), "--max-epochs", "0.6"),
    *("--name", "night", "--finalists", "0", "--no-baseline", "--sampler", "random"),
    *("--set", "hidden_dim=16", "layers=1", "bidirectional=false", "embedding=random"),
]


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["hyperband", "median"])
def test_a_search_stops_trials_and_is_resumed(scheduler: str, tmp_path: Path) -> None:
    with launch(tmp_path, *SEARCH, "--scheduler", scheduler) as search:
        while ended(tmp_path) < 3:
            assert search.poll() is None, search.communicate()
            time.sleep(0.3)
        search.send_signal(signal.SIGINT)
        search.communicate()
    assert search.returncode == 130
    before = ended(tmp_path)
    assert 3 <= before < TRIALS
    with launch(tmp_path, "--resume", "night") as search:
        output, told = search.communicate()
    assert search.returncode == 0, told
    assert json.loads(output)["sweep"] == "night"

    client, parent, trials, study = recorded(tmp_path, "night")
    assert parent.data.params["scheduler"] == scheduler
    assert [trial.key for trial in trials] == list(range(TRIALS))
    states = [trial.state for trial in study.trials]
    assert len(states) == TRIALS
    stopped = {trial.key for trial in trials if trial.outcome == "stopped_early"}
    assert stopped
    assert stopped == {n for n, state in enumerate(states) if state == TrialState.PRUNED}
    for number in stopped:
        values = study.trials[number].intermediate_values
        history = client.get_metric_history(trials[number].run_id, "valid/accuracy")
        assert {point.step: point.value for point in history} == pytest.approx(values)
