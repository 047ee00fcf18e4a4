from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from sweeps.tracking import store_health
from sweeps.tracking.store_health import StoreHealth


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that the test sets."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(store_health, "time", clock)
    return clock


@pytest.fixture
def notified() -> list[str]:
    return []


@pytest.fixture
def health(clock: SimpleNamespace, notified: list[str]) -> StoreHealth:
    return StoreHealth("http://user:secret@host", Path("record.jsonl"), notified.append)


def test_a_healthy_store_is_waited_for(clock: SimpleNamespace, health: StoreHealth) -> None:
    health.request_started()
    clock.now = 1_000.0
    assert not health.unavailable_for(1.0, asked=0.0)
    assert health.busy_for(999.0, asked=0.0)
    assert not health.busy_for(999.0, asked=500.0)
    health.request_answered()
    assert not health.busy_for(0.0, asked=0.0)


def test_a_store_that_is_down(
    clock: SimpleNamespace, health: StoreHealth, notified: list[str]
) -> None:
    health.request_started()
    clock.now = 5.0
    health.request_failed("connection refused")
    # It is down since the request was made; a wait counts from when it began.
    assert health.unavailable_for(4.0, asked=0.0)
    assert not health.unavailable_for(4.0, asked=3.0)
    assert notified == []
    clock.now = 8.0
    health.probe_failed()
    health.request_failed("connection refused")
    assert len(notified) == 1
    assert "the store does not answer (connection refused): the trials continue" in notified[0]
    clock.now = 65.0
    health.request_answered()
    assert notified[1:] == ["the store answers again after 65 seconds; what was kept is being sent"]
    assert not health.unavailable_for(1.0, asked=0.0)


def test_one_quick_failure_is_not_notified(
    clock: SimpleNamespace, health: StoreHealth, notified: list[str]
) -> None:
    health.request_started()
    clock.now = 1.0
    health.request_failed("connection reset")
    health.request_answered()
    assert notified == []
    health.request_started()
    clock.now = 7.0
    health.request_failed("timed out")
    assert "(timed out)" in notified[0]
    health.request_answered()
    assert notified[1:] == ["the store answers again after 6 seconds; what was kept is being sent"]


def test_a_store_that_answers_but_fails_has_ten_times_as_long(
    clock: SimpleNamespace, health: StoreHealth
) -> None:
    health.request_started()
    health.request_failed("it answers 503")
    health.probe_answered()
    clock.now = 9.0
    assert not health.unavailable_for(1.0, asked=0.0)
    clock.now = 10.5
    assert health.unavailable_for(1.0, asked=0.0)
    health.request_failed("it answers 503")
    clock.now = 12.0
    assert health.unavailable_for(1.0, asked=11.0) is False
    assert health.unavailable_for(1.0, asked=10.6)


def test_what_is_not_delivered_is_told_without_secrets(health: StoreHealth) -> None:
    assert str(health.undelivered()) == (
        "the store http://***@host does not answer; what it has not got yet lies in record.jsonl"
    )
    health.request_started()
    health.request_failed("it answers 429")
    assert "does not answer (it answers 429); what" in str(health.undelivered())
