from __future__ import annotations

import threading

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from sweeps.tracking import backoff
from sweeps.tracking.backoff import Backoff, RetriedRequests
from sweeps.tracking.outbox import UndeliveredError
from sweeps.tracking.store_health import StoreHealth

DATABASE = "sqlite:///mlflow.db"
SERVER = "http://127.0.0.1:5000"


class Waits(threading.Event):
    """Keeps how long it was waited for, and waits no time."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.seconds.append(timeout)
        return self.is_set()


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff.random, "uniform", lambda low, high: high)


def test_intervals_double_up_to_the_longest() -> None:
    waits = Waits()
    policy = Backoff(DATABASE, waits)
    assert [policy.wait(lambda: None) for _ in range(7)] == [False] * 7
    assert waits.seconds == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_server_is_probed_and_its_wish_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter((0.0, 60.0, 5.0, None, None))
    monkeypatch.setattr(backoff, "retry_after", lambda uri: next(answers))
    waits, synced = Waits(), []
    policy = Backoff(SERVER, waits)
    assert policy.wait(lambda: synced.append(len(waits.seconds)))
    # It doubles while the server takes no requests; what the server asks for is the least.
    assert waits.seconds == [1.0, 2.0, 60.0, 8.0]
    assert synced == [1, 2, 3]
    # The next failure is the second of its request, however often the server was probed.
    assert policy.wait(lambda: None)
    assert waits.seconds[4:] == [2.0]


def test_a_request_is_repeated_until_it_is_answered(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setattr(backoff, "FIRST_RETRY_INTERVAL", 0.001)
    notified, tries = [], []
    health = StoreHealth(DATABASE, tmp_path / "record.jsonl", notified.append)
    attempt = RetriedRequests(DATABASE, health, lambda: None)

    def busy_twice(again: bool) -> str:
        tries.append(again)
        if len(tries) < 3:
            raise MlflowException("locked", TEMPORARILY_UNAVAILABLE)
        return "answer"

    assert attempt(busy_twice) == "answer"
    assert tries == [False, True, True]
    assert ["the database is busy" in line for line in notified] == [True, False]
    assert "answers again" in notified[1]


def test_another_error_is_raised_at_once(tmp_path) -> None:
    health = StoreHealth(DATABASE, tmp_path / "record.jsonl")

    def fails(again: bool) -> None:
        raise LookupError("no run")

    with pytest.raises(LookupError, match="no run"):
        RetriedRequests(DATABASE, health, lambda: None)(fails)


def test_requests_end_when_they_are_given_up(tmp_path) -> None:
    path = tmp_path / "record.jsonl"
    attempt = RetriedRequests(DATABASE, StoreHealth(DATABASE, path), lambda: None)
    attempt.given_up.set()
    with pytest.raises(UndeliveredError, match=r"lies in .*record\.jsonl"):
        attempt(lambda again: pytest.fail("it was made"))
