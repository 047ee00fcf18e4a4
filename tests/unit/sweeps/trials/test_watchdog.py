"""Workers that hang."""

import pytest

from sweeps.trials import watchdog as module
from sweeps.trials.watchdog import Watchdog


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_worker_hangs_after_twenty_times_the_longest_evaluation(clock):
    watchdog = Watchdog()
    watchdog.start("first")
    clock[0] += module.FIRST_LIMIT
    assert watchdog.hung() == []
    clock[0] += 1
    assert watchdog.hung() == ["first"]
    watchdog.start("first")
    watchdog.start("second")
    clock[0] += 100
    watchdog.report("second")
    assert watchdog.limit == 2000
    watchdog.report("first")
    clock[0] += 2001
    assert watchdog.hung() == ["first", "second"]
    watchdog.end("second")
    assert watchdog.hung() == ["first"]


def test_it_never_takes_less_than_ten_minutes_unless_told(clock):
    watchdog = Watchdog()
    watchdog.start("quick")
    clock[0] += 0.5
    watchdog.report("quick")
    assert watchdog.limit == 600
    assert Watchdog(30).limit == 30
