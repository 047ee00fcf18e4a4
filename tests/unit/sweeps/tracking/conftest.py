from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tracked_sweeps import Store, evaluation, parameters, start

from sweeps.tracking.queries import find_sweep, leaderboard, trials_of
from sweeps.tracking.tracker import SweepTracker


@pytest.fixture
def swept(store: Store, make_bundle: Callable[[int], Path]) -> SweepTracker:
    """A sweep of three trials and a baseline, ended."""
    tracker = start(store)
    tracker.start_trial(0, parameters(cell="gru"), "bigru-1×128 glove adam")
    tracker.start_trial(1, parameters(layers=2), "bilstm-2×128 glove adam")
    tracker.trial(0).log_evaluation(640, evaluation(0.625))
    tracker.trial(1).log_evaluation(640, evaluation(0.5))
    tracker.trial(1).end("stopped_early", metrics={"best/valid/accuracy": 0.5}, step=640)
    tracker.trial(0).log_evaluation(1280, evaluation(0.875, 0.5))
    tracker.trial(0).log_model(make_bundle(0), {"best/valid/accuracy": 0.875}, 1280)
    best = {"best/valid/accuracy": 0.875, "best/examples": 1280, "parameters/total": 99}
    tracker.trial(0).end("completed", metrics=best, step=1280)
    tracker.start_trial(2, parameters(), "bilstm-1×128 glove adam")
    tracker.trial(2).end("failed", error="Traceback …\nTrainingError: the loss is not finite")
    tracker.start_trial("tutorial-1", parameters(cell="rnn"), "tutorial-1", role="baseline")
    tracker.trial("tutorial-1").end("completed", metrics={"best/valid/accuracy": 0.9375})
    tracker.trial(0).log_model_metrics({"test/accuracy": 0.75}, 1280)
    tracker.sweep.log_table(
        leaderboard(trials_of(store[0], find_sweep(store[0], [store[1]])), "valid/accuracy")
    )
    tracker.end("finished")
    return tracker
