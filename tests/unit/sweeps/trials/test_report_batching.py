"""Evaluations that come faster than they are taken in are told together."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.trials.protocol import EXAMPLES, FINISHED
from sweeps.trials.report_batching import LONGEST, TRAIN_TO_WAIT_RATIO, ReportBatcher


class Driven:
    """A trial on a clock of its own, and a driver that lets it wait."""

    def __init__(
        self,
        seconds: float,
        last: int = 10**6,
        rungs: tuple[int, ...] = (),
        fails_at: int = 0,
        together: bool = True,
    ) -> None:
        self.now = 0.0
        self.done = 0
        self._seconds, self._last, self._fails_at = seconds, last, fails_at
        self._pace = ReportBatcher(rungs, together, clock=lambda: self.now)

    def report(self, wait: float = 0.0) -> list[int]:
        """Return the examples of the evaluations of a report, after the wait for the last one."""
        self.now += wait
        return [result[EXAMPLES] for result in self._pace.gather(self._evaluate)]

    def _evaluate(self) -> dict[str, Any] | None:
        if self.done + 1 == self._fails_at:
            return None
        self.now += self._seconds
        self.done += 1
        return {EXAMPLES: 10 * self.done, FINISHED: self.done == self._last}


def test_each_evaluation_is_told_alone_where_nobody_waits():
    trial = Driven(seconds=0.01)
    assert [trial.report() for _ in range(3)] == [[10], [20], [30]]


def test_slow_evaluations_are_told_alone_however_long_the_wait():
    trial = Driven(seconds=LONGEST)
    assert [trial.report(wait=60.0) for _ in range(3)] == [[10], [20], [30]]


def test_evaluations_are_gathered_until_the_wait_is_a_fiftieth_of_them():
    trial = Driven(seconds=0.25)
    assert trial.report() == [10]
    assert TRAIN_TO_WAIT_RATIO == 50
    assert trial.report(wait=1 / 64) == [20, 30, 40, 50]  # the first time above 50/64 seconds
    assert trial.report(wait=1 / 128) == [60, 70]


def test_nothing_is_gathered_where_that_is_not_wanted():
    trial = Driven(seconds=0.01, together=False)
    assert [trial.report(wait=10.0) for _ in range(3)] == [[10], [20], [30]]


def test_no_more_is_held_back_than_two_seconds():
    trial = Driven(seconds=0.5)
    trial.report()
    assert trial.report(wait=10.0) == [20, 30, 40, 50]


def test_the_last_evaluation_is_told_at_once():
    trial = Driven(seconds=0.01, last=3)
    trial.report()
    assert trial.report(wait=10.0) == [20, 30]


def test_what_was_evaluated_before_a_failure_is_told_first():
    trial = Driven(seconds=0.01, fails_at=4)
    trial.report()
    assert trial.report(wait=10.0) == [20, 30]
    assert trial.report() == []


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 2_000), max_size=6).map(tuple),
    st.lists(st.sampled_from([0.0, 0.001, 0.02, 5.0]), min_size=40, max_size=40),
    st.sampled_from([0.003, 0.1, 3.0]),
)
def test_no_report_reaches_past_a_rung_and_none_is_lost(rungs, waits, seconds):
    trial = Driven(seconds, rungs=rungs)
    told = [trial.report(wait) for wait in waits]
    assert [each for report in told for each in report] == [
        10 * (place + 1) for place in range(trial.done)
    ]
    for report in told:
        assert not any(
            rung <= earlier for earlier in report[:-1] for rung in rungs if rung > report[0] - 10
        )
