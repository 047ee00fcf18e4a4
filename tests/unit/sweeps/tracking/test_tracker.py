from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from tracked_sweeps import Store, dead, evaluation, meanwhile, parameters, start

from sentiment.errors import InputError
from sweeps.tracking.outbox import RecordError
from sweeps.tracking.queries import (
    best_trials,
    find_sweep,
    finished_trials,
    intermediate_values,
    leaderboard,
    trials_of,
)
from sweeps.tracking.tracker import SweepTracker


def test_run_of_the_sweep(store: Store, swept: SweepTracker, tmp_path: Path) -> None:
    client, experiment_id = store
    run = find_sweep(client, [experiment_id], "first")
    assert run.info.run_id == swept.run_id
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    tags = run.data.tags
    assert (tags["sweep.role"], tags["sweep.name"], tags["sweep.state"]) == (
        "sweep",
        "first",
        "finished",
    )
    assert tags["provenance.precision"] == "float32"
    assert tags["provenance.recurrence"].partition(":")[0] in ("compiled", "python")
    assert json.loads(tags["provenance.packages"])["mlflow"]
    assert run.data.params["objective"] == "valid/accuracy"
    space = client.download_artifacts(swept.run_id, "space.yaml", str(tmp_path))
    assert Path(space).read_text() == "cell: {choice: [gru, lstm]}\n"
    table = client.download_artifacts(swept.run_id, "leaderboard.csv", str(tmp_path))
    assert Path(table).read_text().startswith("rank,trial,role,outcome,")


def test_runs_of_the_trials(store: Store, swept: SweepTracker) -> None:
    client = store[0]
    told = {}
    for key in (0, 1, 2, "tutorial-1"):
        run = client.get_run(swept.run_of(key))
        tags = run.data.tags
        assert tags["mlflow.parentRunId"] == swept.run_id
        assert tags["sweep.name"] == "first"
        told[key] = (
            run.info.run_name,
            run.info.status,
            tags["sweep.role"],
            tags.get("sweep.trial"),
            tags["sweep.outcome"],
        )
    assert told == {
        0: ("000 bigru-1×128 glove adam", "FINISHED", "trial", "0", "completed"),
        1: ("001 bilstm-2×128 glove adam", "FINISHED", "trial", "1", "stopped_early"),
        2: ("002 bilstm-1×128 glove adam", "FAILED", "trial", "2", "failed"),
        "tutorial-1": ("tutorial-1", "FINISHED", "baseline", None, "completed"),
    }
    assert client.get_run(swept.run_of(0)).data.params["cell"] == "gru"
    assert intermediate_values(client, swept.run_of(0), "valid/accuracy") == {
        640: 0.625,
        1280: 0.875,
    }


def test_trials_that_ran_out_of_time_count_by_themselves(store: Store) -> None:
    client, experiment_id = store
    tracker = start(store)
    for number, (outcome, best) in enumerate((("completed", 0.5), ("out_of_time", 0.75))):
        tracker.start_trial(number, parameters(), "bilstm-1×128 glove adam")
        assert tracker.run_of(number) == tracker.known_run(number)
        tracker.trial(number).log_evaluation(640, evaluation(best))
        tracker.trial(number).end(outcome, metrics={"best/valid/accuracy": best}, step=640)
    assert tracker.known_run(7) is None
    tracker.end("finished")
    run = find_sweep(client, [experiment_id])
    metrics = {name: run.data.metrics[f"sweep/{name}"] for name in ("out_of_time", "best")}
    assert metrics == {"out_of_time": 1, "best": 0.75}
    assert run.data.metrics["sweep/stopped_early"] == 0
    cut = client.get_run(tracker.run_of(1))
    assert (cut.info.status, cut.data.tags["sweep.outcome"]) == ("FINISHED", "out_of_time")
    trials = trials_of(client, run)
    # Its best checkpoint counts like any other, and another sweep may start from it.
    assert [trial.key for trial in best_trials(trials, "valid/accuracy")] == [1, 0]
    past = finished_trials(client, run, "f00", "valid/accuracy")
    assert [one.outcome for one in past] == ["completed", "out_of_time"]


def test_traceback_of_a_failed_trial_is_kept(
    store: Store, swept: SweepTracker, tmp_path: Path
) -> None:
    path = store[0].download_artifacts(swept.run_of(2), "error.txt", str(tmp_path))
    assert "the loss is not finite" in Path(path).read_text()


def test_test_metrics_stand_on_the_winner_and_its_model(store: Store, swept: SweepTracker) -> None:
    client = store[0]
    trials = trials_of(client, find_sweep(client, [store[1]]))
    with_test = [trial.key for trial in trials if "test/accuracy" in trial.metrics]
    assert with_test == [0]
    model_id = swept.model_of(0)
    assert model_id is not None
    metrics = {metric.key: metric.value for metric in client.get_logged_model(model_id).metrics}
    assert metrics == {"best/valid/accuracy": 0.875, "test/accuracy": 0.75}


def test_leaderboard_ranks_the_search(store: Store, swept: SweepTracker) -> None:
    trials = trials_of(store[0], find_sweep(store[0], [store[1]]))
    assert [trial.key for trial in trials] == [0, 1, 2, "tutorial-1"]
    assert [trial.key for trial in best_trials(trials, "valid/accuracy")] == [0, 1]
    table = leaderboard(trials, "valid/accuracy")
    assert table["trial"].tolist() == [0, 1, 2, "tutorial-1"]
    assert table["rank"].dropna().tolist() == [1, 2]
    assert table["best/valid/accuracy"].tolist()[:2] == [0.875, 0.5]
    assert table["model_id"].tolist()[0] == swept.model_of(0)
    assert table["layers"].tolist() == [1, 2, 1, 1]


def test_trials_for_another_sweep(store: Store, swept: SweepTracker) -> None:
    client = store[0]
    run = find_sweep(client, [store[1]])
    past = finished_trials(client, run, "f00", "valid/accuracy")
    assert [(one.outcome, one.value) for one in past] == [
        ("completed", 0.875),
        ("stopped_early", 0.5),
    ]
    assert past[0].settings["cell"] == "gru"
    assert past[0].intermediate_values == {640: 0.625, 1280: 0.875}
    with pytest.raises(InputError, match=r"first went by valid/accuracy, .* valid/loss: give"):
        finished_trials(client, run, "f00", "valid/loss")
    with pytest.raises(InputError, match="saw other data"):
        finished_trials(client, run, "0ther", "valid/accuracy")


def test_no_such_sweep(store: Store) -> None:
    with pytest.raises(InputError, match=r"no sweep here yet: python -m sweeps\.launch"):
        find_sweep(store[0], [store[1]])
    start(store).end("finished")
    with pytest.raises(InputError, match="no sweep 'second'; the newest is first"):
        find_sweep(store[0], [store[1]], "second")
    with pytest.raises(InputError, match="no sweep"):
        find_sweep(store[0], [store[1]], "o'clock")


def test_retry_continues_in_the_same_run(store: Store) -> None:
    tracker = start(store)
    tracker.start_trial(0, parameters(), "x")
    run_id = tracker.run_of(0)
    tracker.trial(0).log_evaluation(64, evaluation(0.5))
    tracker.trial(0).log_evaluation(128, evaluation(0.625))
    tracker.trial(0).end("failed", error="lost")
    tracker.start_trial(0, parameters(), "x")
    assert tracker.run_of(0) == run_id
    run = store[0].get_run(run_id)
    assert run.info.status == "RUNNING"
    assert "sweep.outcome" not in run.data.tags
    for step, accuracy in ((64, 0.5), (128, 0.625), (192, 0.75)):
        tracker.trial(0).log_evaluation(step, evaluation(accuracy))
    tracker.trial(0).end("completed", metrics={"best/valid/accuracy": 0.75})
    tracker.end("finished")

    history = store[0].get_metric_history(run_id, "valid/accuracy")
    assert [metric.step for metric in history] == [64, 128, 192]
    run = store[0].get_run(run_id)
    assert (run.info.status, run.data.tags["sweep.outcome"]) == ("FINISHED", "completed")
    failed = store[0].get_metric_history(tracker.run_id, "sweep/failed")
    assert [metric.value for metric in failed] == [1, 0]


def test_interrupted_sweep_resumes_in_its_own_runs(store: Store) -> None:
    client, experiment_id = store
    first = start(store)
    first.start_trial(0, parameters(), "x")
    done = first.run_of(0)
    first.trial(0).end("completed", metrics={"best/valid/accuracy": 0.5})
    first.start_trial(1, parameters(), "y")
    open_run = first.run_of(1)
    first.trial(1).log_evaluation(64, evaluation(0.5))
    first.end("interrupted")
    run = find_sweep(client, [experiment_id], "first")
    assert (run.info.status, run.data.tags["sweep.state"]) == ("KILLED", "interrupted")
    trial = client.get_run(open_run)
    assert (trial.info.status, trial.data.tags["sweep.outcome"]) == ("KILLED", "interrupted")

    second = SweepTracker.resume(client, run)
    assert client.get_run(run.info.run_id).data.tags["sweep.state"] == "running"
    assert second.run_of(0) == done
    second.start_trial(1, parameters(), "y")
    assert second.run_of(1) == open_run
    second.trial(1).log_evaluation(64, evaluation(0.5))
    second.trial(1).log_evaluation(128, evaluation(0.75))
    second.trial(1).end("completed", metrics={"best/valid/accuracy": 0.75})
    second.end("finished")

    steps = [m.step for m in client.get_metric_history(open_run, "valid/accuracy")]
    assert steps == [64, 128]
    best = client.get_metric_history(second.run_id, "sweep/best")
    assert [(metric.step, metric.value) for metric in best] == [(1, 0.5), (2, 0.75)]
    run = find_sweep(client, [experiment_id], "first")
    assert (run.info.status, run.data.tags["sweep.state"]) == ("FINISHED", "finished")


def test_running_sweep_is_not_resumed(store: Store) -> None:
    tracker = start(store)
    with pytest.raises(InputError, match="is running, in process"):
        SweepTracker.resume(store[0], find_sweep(store[0], [store[1]]))
    tracker.end("finished")


def test_failed_record_leaves_no_run_open(store: Store) -> None:
    client = store[0]
    tracker = start(store)
    for key in range(3):
        tracker.start_trial(key, parameters(), "x")
    bad, done, running = (tracker.run_of(key) for key in range(3))
    client.delete_run(bad)
    # The end of trial 1 is handed over after what fails, so it is never written.
    with suppress(RecordError):
        tracker.trial(0).end("completed")
        tracker.trial(1).end("completed")
    thread = tracker._writer._delivery._thread
    with pytest.raises(RecordError, match="deleted"):
        tracker.end("finished")
    assert not thread.is_alive()
    told = {run_id: client.get_run(run_id) for run_id in (done, running, tracker.run_id)}
    assert {run.info.status for run in told.values()} == {"KILLED"}
    assert told[done].data.tags["sweep.outcome"] == "interrupted"
    assert told[running].data.tags["sweep.outcome"] == "interrupted"
    assert told[tracker.run_id].data.tags["sweep.state"] == "interrupted"
    tracker.end("interrupted")


def test_trial_that_cannot_be_started(store: Store) -> None:
    client = store[0]
    tracker = start(store)
    with pytest.raises(RecordError, match="can't be written"):
        tracker.start_trial(0, {"a?b": "1"}, "x")
        tracker.flush()
    with pytest.raises(RecordError):
        tracker.end("interrupted")
    runs = client.search_runs([store[1]])
    assert [run.info.status for run in runs] == ["KILLED"] * 2


def test_sweep_whose_start_is_interrupted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowClient, "log_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start(store)
    (run,) = store[0].search_runs([store[1]])
    assert (run.info.status, run.data.tags["sweep.state"]) == ("KILLED", "interrupted")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_trial_whose_start_is_interrupted_is_closed(store: Store, number: int) -> None:
    tracker = start(store)
    before = signal.signal(number, signal.default_int_handler)
    try:
        # The writer is at something else, so that the driver waits when the signal comes.
        meanwhile(tracker, lambda: (time.sleep(0.3), os.kill(os.getpid(), number)))
        meanwhile(tracker, lambda: time.sleep(0.5))
        tracker.start_trial(0, parameters(), "x")
        with pytest.raises(KeyboardInterrupt):
            tracker.run_of(0)
        # Another comes while the record is being closed.
        meanwhile(tracker, lambda: os.kill(os.getpid(), number))
        meanwhile(tracker, lambda: time.sleep(0.3))
        tracker.end("interrupted")
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    runs = store[0].search_runs([store[1]])
    assert [run.info.status for run in runs] == ["KILLED"] * 2


def test_what_a_kill_interrupted_is_recorded_once(
    store: Store, make_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    """A sweep is resumed after a kill at a trial's end, and everything is handed over again."""
    client, experiment_id = store

    def hand_over(tracker: SweepTracker, end: bool) -> None:
        tracker.start_trial(0, parameters(), "x")
        for step, value in ((640, 0.5), (1280, 0.75)):
            tracker.trial(0).log_evaluation(step, evaluation(value), at=1_000 + step)
        best = {"best/valid/accuracy": 0.75}
        tracker.trial(0).log_model(make_bundle(0), best, 1280, at=5_000)
        if end:
            once = {**best, "seconds/total": 3.0}
            tracker.trial(0).end("completed", metrics=once, step=1280, at=5_000)

    first = start(store)
    first.start_trial(1, parameters(), "y")
    first.trial(1).end("stopped_early", metrics={"best/valid/accuracy": 0.25}, at=2_000)
    hand_over(first, end=False)
    first.flush()
    # Of the other trial's end the sweep's count is missing, as if the kill had come before it.
    parent = find_sweep(client, [experiment_id])
    trials = trials_of(client, parent)
    assert [trial.outcome for trial in trials] == [None, "stopped_early"]
    again = SweepTracker.resume(client, dead(client, parent), folder=tmp_path / "own")
    assert not again.has_ended(0)
    assert again.has_ended(1)
    hand_over(again, end=True)
    again.complete_counts()
    again.end("finished")
    run_id = trials[0].run_id
    for name, steps in (("valid/accuracy", [640, 1280]), ("best/valid/accuracy", [1280])):
        assert [m.step for m in client.get_metric_history(run_id, name)] == steps
    assert len(client.search_logged_models([experiment_id])) == 1
    counts = client.get_metric_history(parent.info.run_id, "sweep/stopped_early")
    assert sorted((m.step, m.value) for m in counts) == [(1, 1.0), (2, 1.0)]
    ended = client.get_run(run_id)
    assert (ended.info.status, ended.info.end_time) == ("FINISHED", 5_000)
