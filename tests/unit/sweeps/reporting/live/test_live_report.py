from __future__ import annotations

import sqlite3

from tracked_sweeps import Store, dead, evaluation, parameters, start

from sweeps.reporting.live.live_report import READ_SECONDS, LiveReport
from sweeps.tracking.queries import find_sweep


class Clock:
    """A clock by which every question comes late enough for another reading."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += READ_SECONDS
        return self.seconds


def live(store: Store) -> LiveReport:
    return LiveReport(store[0], find_sweep(store[0], [store[1]]), Clock())


def test_status_and_parts_follow_the_sweep(store: Store) -> None:
    tracker = start(store)
    report = live(store)
    assert "waits for its first trial" in report.state()["status"]
    tracker.start_trial(0, parameters(cell="gru"), "<i>x</i>")
    tracker.flush()
    expected = "first is running and waits for its first evaluation; 1 run trains now."
    assert report.state()["status"] == expected
    tracker.trial(0).log_evaluation(640, evaluation(0.625))
    tracker.flush()
    state = report.state()
    assert (state["state"], state["report"]) == ("running", False)
    assert state["status"] == "first is running: 0 of 3 trials ended, 1 run trains now."
    assert list(state["parts"]) == ["head", "now", "leaderboard", "search"]
    assert "0.6250" in state["parts"]["now"]
    assert "&lt;i&gt;x" in state["parts"]["leaderboard"]
    assert "<i>" not in "".join(state["parts"].values())
    assert report.state(state["version"])["parts"] == {}
    tracker.trial(0).end("completed", metrics={"best/valid/accuracy": 0.625}, step=640)
    tracker.end("finished")
    ended = report.state(state["version"])
    assert ended["state"] == "ended"
    expected = "first has ended (finished). python -m sweeps.report first makes its report."
    assert ended["status"] == expected
    assert "<figure" in ended["parts"]["search"]
    assert report.final_page() is None
    store[0].log_text(tracker.run_id, "<!doctype html>", "report.html")
    assert report.state()["status"] == "first has ended (finished)."
    assert report.final_page() == b"<!doctype html>"


def test_sweep_of_a_dead_process(store: Store) -> None:
    tracker = start(store)
    report = live(store)
    dead(store[0], store[0].get_run(tracker.run_id))
    state = report.state()
    assert state["state"] == "dead"
    assert state["status"] == (
        "The process of first ended without closing its record: python -m sweeps.launch "
        "--resume first continues it."
    )
    tracker.end("interrupted")


def test_sweep_that_ended_before_its_objective(store: Store) -> None:
    tags = {"sweep.role": "sweep", "sweep.name": "first", "sweep.state": "interrupted"}
    store[0].create_run(store[1], tags=tags)
    state = live(store).state()
    assert state["state"] == "ended"
    assert state["status"] == "first has ended (interrupted) before it wrote its objective."
    assert list(state["parts"]) == ["head"]


def test_store_that_fails_is_said_and_read_again(store: Store) -> None:
    tracker = start(store)
    tracker.start_trial(0, parameters(), "x")
    tracker.trial(0).log_evaluation(640, evaluation(0.625))
    tracker.flush()
    report = live(store)
    database = sqlite3.connect(store[0].tracking_uri.removeprefix("sqlite:///"))
    database.execute("ALTER TABLE metrics RENAME TO hidden")
    failed = report.state()
    database.execute("ALTER TABLE hidden RENAME TO metrics")
    database.close()
    assert failed["status"].startswith("The store can't be read, which is tried again: ")
    assert "0.6250" in report.state(failed["version"])["parts"]["now"]
    tracker.end("finished")
