from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from sentiment.config import Config
from sentiment.errors import InputError
from sentiment.tracking.provenance import process_tags
from sentiment.tracking.runs import create_run, run_parameters
from sweeps.tracking import backoff
from sweeps.tracking.mlflow_sink import MlflowSink
from sweeps.tracking.names import check_sweep_name, new_sweep_name
from sweeps.tracking.orphans import close_orphans
from sweeps.tracking.outbox import Entry, Outbox, RecordError
from sweeps.tracking.queries import (
    best_trials,
    find_sweep,
    finished_trials,
    intermediate_values,
    leaderboard,
    trials_of,
)
from sweeps.tracking.roles import ROLES, Role
from sweeps.tracking.tracker import SweepTracker

Store = tuple[MlflowClient, str]


def start(
    store: Store,
    name: str = "first",
    objective: str = "valid/accuracy",
    folder: Path | None = None,
) -> SweepTracker:
    client, experiment_id = store
    return SweepTracker.start(
        client,
        experiment_id,
        name,
        objective=objective,  # type: ignore[arg-type]
        parameters={"trials": "3", "dataset": "imdb-25k", "dataset_fingerprint": "f00"},
        precision="float32",
        space_yaml="cell: {choice: [gru, lstm]}\n",
        folder=folder,
    )


def parameters(**changes: object) -> dict[str, str]:
    return run_parameters(Config.from_flat(changes), "imdb-25k", "f00")


def evaluation(accuracy: float, epoch: float = 0.25) -> dict[str, float]:
    return {"valid/accuracy": accuracy, "valid/loss": 1 - accuracy, "epoch": epoch}


def meanwhile(tracker: SweepTracker, function: Callable[[], Any]) -> None:
    """Keep the writing thread at a function, while the caller goes on."""
    threading.Thread(target=tracker.ask, args=(function,), daemon=True).start()
    time.sleep(0.02)  # its turn is before what the caller hands over next


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
    assert json.loads(tags["provenance.packages"])["mlflow"]
    assert run.data.params["objective"] == "valid/accuracy"
    space = client.download_artifacts(swept.run_id, "space.yaml", str(tmp_path))
    assert Path(space).read_text() == "cell: {choice: [gru, lstm]}\n"
    table = client.download_artifacts(swept.run_id, "leaderboard.csv", str(tmp_path))
    assert Path(table).read_text().startswith("rank,trial,role,outcome,")


def test_metrics_of_the_sweep_count_trials_ended(store: Store, swept: SweepTracker) -> None:
    def history(name: str) -> list[tuple[int, float]]:
        found = store[0].get_metric_history(swept.run_id, name)
        return [(metric.step, metric.value) for metric in found]

    # The baseline is no trial of the search: it neither counts nor is the best.
    assert history("sweep/best") == [(1, 0.5), (2, 0.875), (3, 0.875)]
    assert history("sweep/completed") == [(1, 0), (2, 1), (3, 1)]
    assert history("sweep/stopped_early") == [(1, 1), (2, 1), (3, 1)]
    assert history("sweep/failed") == [(1, 0), (2, 0), (3, 1)]


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


def test_metrics_bear_the_time_at_which_they_were_measured(store: Store) -> None:
    tracker = start(store)
    tracker.start_trial(0, parameters(), "x")
    run_id = tracker.run_of(0)
    # What is written before holds the writer up for longer than the moments lie apart.
    meanwhile(tracker, lambda: time.sleep(0.5))
    before = time.time_ns() // 1_000_000
    tracker.trial(0).log_evaluation(64, evaluation(0.5))
    after = time.time_ns() // 1_000_000
    time.sleep(0.1)
    tracker.trial(0).end("completed")
    tracker.end("finished")
    (metric,) = store[0].get_metric_history(run_id, "valid/accuracy")
    assert before <= metric.timestamp <= after
    assert store[0].get_run(run_id).info.end_time >= after + 100


def test_retry_goes_on_in_the_same_run(store: Store) -> None:
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


def test_smaller_is_better_for_a_loss(store: Store) -> None:
    tracker = start(store, objective="valid/loss")
    for number, loss in enumerate((0.5, 0.25, 0.375)):
        tracker.start_trial(number, parameters(), "x")
        tracker.trial(number).end("completed", metrics={"best/valid/loss": loss})
    tracker.end("finished")
    history = store[0].get_metric_history(tracker.run_id, "sweep/best")
    assert [metric.value for metric in history] == [0.5, 0.25, 0.25]
    trials = trials_of(store[0], find_sweep(store[0], [store[1]]))
    assert [trial.key for trial in best_trials(trials, "valid/loss")] == [1, 2, 0]


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


@pytest.mark.parametrize("name", ["", "../x", "a b", ".hidden", "x" * 81, "a/b", "été"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InputError, match="letters, digits"):
        check_sweep_name(name)


def test_name_is_used_once(store: Store) -> None:
    now = datetime(2026, 11, 21, 17, 45, 0)
    name = new_sweep_name(store[0], store[1], "my data/été.csv", now)
    assert name == "my-data-t-.csv-20261121-174500"
    check_sweep_name(name)
    start(store, name).end("finished")
    assert new_sweep_name(store[0], store[1], "my data/été.csv", now) == f"{name}-2"
    with pytest.raises(InputError, match=f"--resume {name}"):
        start(store, name)


def test_failure_to_write_reaches_the_caller(store: Store) -> None:
    tracker = start(store)
    tracker.start_trial(0, parameters(), "x")
    run_id = tracker.run_of(0)
    store[0].delete_run(run_id)
    tracker.trial(0).log_evaluation(64, evaluation(0.5))
    with pytest.raises(RecordError, match="deleted"):
        tracker.flush()
    with pytest.raises(RecordError, match="can't be written"):
        tracker.trial(0).log_evaluation(128, evaluation(0.5))
    with pytest.raises(RecordError, match="can't be written"):
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


def test_trial_waits_for_a_busy_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST_RETRY_INTERVAL", 0.01)
    tracker = start(store)
    create, calls = MlflowClient.create_run, []

    def busy_once(*arguments: Any, **options: Any) -> Any:
        calls.append(threading.current_thread().name)
        if len(calls) == 1:
            raise MlflowException("locked", TEMPORARILY_UNAVAILABLE)
        return create(*arguments, **options)

    monkeypatch.setattr(MlflowClient, "create_run", busy_once)
    tracker.start_trial(0, parameters(), "x")
    run_id = tracker.run_of(0)
    tracker.end("interrupted")
    assert calls == ["record-writer"] * 2
    assert store[0].get_run(run_id).info.status == "KILLED"


def test_sweep_whose_start_is_cut_off(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_orphans_of_dead_processes_are_closed(store: Store) -> None:
    client, experiment_id = store
    # A process that starts a sweep and a trial, and then is no more.
    code = f"""
import os
from sentiment.tracking.store import open_store
from sweeps.tracking.tracker import SweepTracker
client, experiment_id = open_store({client.tracking_uri!r})
tracker = SweepTracker.start(client, experiment_id, "dead", objective="valid/loss", parameters={{}},
                             precision="float32", space_yaml="")
tracker.start_trial(0, {{}}, "x")
print(tracker.run_id, tracker.run_of(0), flush=True)
os._exit(9)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False
    )
    sweep, trial = done.stdout.split()
    live = create_run(client, experiment_id, "live", tags={}, parameters={})
    elsewhere = create_run(
        client,
        experiment_id,
        "elsewhere",
        tags={**process_tags(), "process.host": "another-machine", "process.pid": "1"},
        parameters={},
    )

    assert sorted(close_orphans(client)) == sorted([sweep, trial])

    ended = client.get_run(sweep)
    assert (ended.info.status, ended.data.tags["sweep.state"]) == ("KILLED", "interrupted")
    assert "ended without closing it" in ended.data.tags["closed.reason"]
    ended = client.get_run(trial)
    assert (ended.info.status, ended.data.tags["sweep.outcome"]) == ("KILLED", "interrupted")
    assert client.get_run(live).info.status == "RUNNING"
    assert client.get_run(elsewhere).info.status == "RUNNING"
    assert close_orphans(client) == []


def test_what_a_kill_cut_off_is_recorded_once(
    store: Store, make_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    """A record is taken up after a kill at a trial's end, and everything is handed over again."""
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


@pytest.mark.parametrize("role", ROLES)
def test_run_of_every_role_is_found_again(store: Store, tmp_path: Path, role: Role) -> None:
    """A kill came after a run was made, and before the outbox knew of it."""
    client, _ = store
    key = 0 if role == "trial" else f"{role}-000"
    tracker = start(store)
    tracker.start_trial(key, parameters(), "x", role=role)
    run_id = tracker.run_of(key)
    sink = MlflowSink(client, tracker.run_id, Outbox(tmp_path))
    tags = client.get_run(run_id).data.tags
    entry = Entry(1, "start", key, {"name": "x", "tags": tags, "at": 1_000})
    sink.deliver(entry, True, lambda request, again=False: request(again))
    assert sink.lookup.run_of(key) == run_id
    tracker.end("interrupted")
    assert [trial.run_id for trial in trials_of(client, client.get_run(tracker.run_id))] == [run_id]


def dead(client: MlflowClient, run: Run) -> Run:
    """Return a run as if the process that writes it were dead."""
    client.set_tag(run.info.run_id, "process.pid", "999999999")
    return client.get_run(run.info.run_id)


def test_what_waits_for_its_batch_keeps_what_came_later(
    store: Store, make_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    client, _ = store
    folder = tmp_path / "sweep"
    tracker = start(store, folder=folder)
    for key in range(2):
        tracker.start_trial(key, parameters(), "x")
    zero, one = (tracker.run_of(key) for key in range(2))
    tracker.flush()
    tracker._writer._delivery.interval = 3600.0
    for step in range(5):
        tracker.trial(0).log_evaluation(step, evaluation(0.5))
    best = {"best/valid/accuracy": 0.75}
    tracker.trial(1).log_model(make_bundle(0), best, 1280)
    tracker.trial(1).end("completed", metrics=best, step=1280)
    while client.get_run(one).info.status == "RUNNING":
        time.sleep(0.02)
    # Trial 1 has ended, but what trial 0 reported before that is not in the store: after a kill
    # now all of it would be looked up, and sent where it lacks.
    assert client.get_metric_history(zero, "epoch") == []
    lines = [json.loads(line) for line in (folder / "record.jsonl").read_text().splitlines()]
    crossed_off = max(line[0] for line in lines if len(line) == 1)
    left = [line[1] for line in lines if len(line) > 1 and line[0] > crossed_off]
    assert left == ["log"] * 5 + ["model", "end", "log"]
    assert len(list((folder / "record-models").iterdir())) == 1
    tracker.flush()
    assert list((folder / "record-models").iterdir()) == []
    assert [point.step for point in client.get_metric_history(zero, "epoch")] == [0, 1, 2, 3, 4]
    tracker.end("finished")
