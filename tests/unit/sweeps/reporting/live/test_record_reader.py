from __future__ import annotations

import sqlite3

import pytest
from mlflow.exceptions import MlflowException
from tracked_sweeps import Store, evaluation, parameters, start

from sweeps.analysis.sweep_data import SweepData
from sweeps.reporting.live.record_reader import WHOLE_SECONDS, RecordReader
from sweeps.tracking.queries import find_sweep


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def read(reader: RecordReader) -> SweepData:
    reader.read()
    assert reader.data is not None
    return reader.data


def test_what_is_new_is_read(store: Store) -> None:
    tracker = start(store)
    reader = RecordReader(store[0], find_sweep(store[0], [store[1]]), Clock())
    assert read(reader).everything == []
    tracker.start_trial(0, parameters(), "x")
    tracker.trial(0).log_evaluation(640, evaluation(0.625))
    tracker.flush()
    run_id = tracker.run_of(0)
    before = read(reader)
    assert before.curves == {run_id: {640: 0.625}}
    assert read(reader) is before
    tracker.trial(0).log_evaluation(1280, evaluation(0.75, 0.5))
    tracker.flush()
    after = read(reader)
    assert after.curves == {run_id: {640: 0.625, 1280: 0.75}}
    assert [trial.outcome for trial in after.trials] == [None]
    tracker.trial(0).end("completed", metrics={"best/valid/accuracy": 0.75}, step=1280)
    tracker.flush()
    assert [trial.outcome for trial in read(reader).ranked] == ["completed"]
    tracker.end("finished")
    assert read(reader).run.data.tags["sweep.state"] == reader.state == "finished"


def test_what_began_and_ended_between_two_readings_is_found_later(store: Store) -> None:
    tracker = start(store)
    clock = Clock()
    reader = RecordReader(store[0], find_sweep(store[0], [store[1]]), clock)
    read(reader)
    tracker.start_trial(0, parameters(), "x")
    tracker.trial(0).end("failed", error="no memory")
    tracker.flush()
    assert read(reader).trials == []
    clock.seconds = WHOLE_SECONDS
    assert [trial.outcome for trial in read(reader).trials] == ["failed"]
    tracker.end("finished")


def test_no_change_is_lost_while_the_store_fails(store: Store) -> None:
    tracker = start(store)
    tracker.start_trial(0, parameters(), "x")
    tracker.flush()
    reader = RecordReader(store[0], find_sweep(store[0], [store[1]]), Clock())
    read(reader)
    tracker.trial(0).log_evaluation(640, evaluation(0.625))
    tracker.flush()
    database = sqlite3.connect(store[0].tracking_uri.removeprefix("sqlite:///"))
    database.execute("ALTER TABLE metrics RENAME TO hidden")
    with pytest.raises(MlflowException):
        reader.read()
    database.execute("ALTER TABLE hidden RENAME TO metrics")
    database.close()
    assert read(reader).curves == {tracker.run_of(0): {640: 0.625}}
    tracker.end("finished")


def test_sweep_without_an_objective_has_no_data(store: Store) -> None:
    tags = {"sweep.role": "sweep", "sweep.name": "first", "sweep.state": "running"}
    run = store[0].create_run(store[1], tags=tags)
    reader = RecordReader(store[0], run, Clock())
    reader.read()
    assert reader.data is None
