from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from tracked_sweeps import Store, evaluation, meanwhile, parameters, start

from sweeps.tracking import backoff
from sweeps.tracking.outbox import RecordError


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
    acknowledged = max(line[0] for line in lines if len(line) == 1)
    left = [line[1] for line in lines if len(line) > 1 and line[0] > acknowledged]
    assert left == ["log"] * 5 + ["model", "end", "log"]
    assert len(list((folder / "record-models").iterdir())) == 1
    tracker.flush()
    assert list((folder / "record-models").iterdir()) == []
    assert [point.step for point in client.get_metric_history(zero, "epoch")] == [0, 1, 2, 3, 4]
    tracker.end("finished")
