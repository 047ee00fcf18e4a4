"""Which runs of a sweep keep its limits, are on its front, and are chosen."""

from __future__ import annotations

from typing import Any

import pytest

from sweeps.objectives import Objectives
from sweeps.pipeline.stages.choice import beyond_limits
from sweeps.reporting.front import front_plain, front_table, none_within
from sweeps.tracking.queries import (
    TrialRecord,
    chosen_run,
    front_of,
    leaderboard,
    nearest_run,
    registered_run,
    within_limits,
)

OBJECTIVES = Objectives.parse(
    ["valid/accuracy", "latency", "seconds"], ["latency=5ms", "seconds=30s"]
)
LIMITS = OBJECTIVES.limits


def run_of(
    key: int | str,
    accuracy: float,
    latency: float | None,
    seconds: float = 10.0,
    role: str = "trial",
    outcome: str = "completed",
) -> TrialRecord:
    metrics: dict[str, float] = {"best/valid/accuracy": accuracy, "seconds/total": seconds}
    metrics["best/valid/loss"] = 1 - accuracy
    if latency is not None:
        metrics["latency/single_text_ms"] = latency
    parameters: dict[str, Any] = {"cell": "gru"}
    return TrialRecord(
        key, f"run-{key}", role, f"{key} gru", outcome, parameters, None, metrics, 0, 1, "m"
    )


SLOW = run_of(0, 0.9, 6.0)
GOOD = run_of(1, 0.8, 5.0)
FAST = run_of(2, 0.7, 2.0)
LONG = run_of(3, 0.85, 4.0, seconds=40.0)
UNKNOWN = run_of(4, 0.99, None)
STOPPED = run_of(5, 0.6, 1.0, seconds=2.0, outcome="stopped_early")
TRIALS = [SLOW, GOOD, FAST, LONG, UNKNOWN, STOPPED]


def test_the_best_within_the_limits_is_chosen() -> None:
    assert chosen_run(TRIALS, "valid/accuracy") == UNKNOWN
    assert chosen_run(TRIALS, "valid/accuracy", LIMITS) == GOOD
    assert within_limits(TRIALS, LIMITS) == [GOOD, FAST, STOPPED]
    assert chosen_run([SLOW, LONG], "valid/accuracy", LIMITS) is None


def test_a_finalist_is_judged_by_its_model_alone() -> None:
    slow = run_of("finalist-001", 0.95, 7.0, role="finalist")
    longer = run_of("finalist-002", 0.75, 3.0, seconds=90.0, role="finalist")
    assert chosen_run([*TRIALS, slow, longer], "valid/accuracy", LIMITS) == longer
    assert chosen_run([*TRIALS, slow], "valid/accuracy", LIMITS) == GOOD
    assert list(beyond_limits([*TRIALS, slow, longer], LIMITS)) == [
        "finalist-001 gru is left out: latency 7 ms, beyond latency=5ms"
    ]


@pytest.mark.parametrize(("latency", "registered"), [(4.0, "refit-002"), (6.0, "finalist-002")])
def test_a_refit_beyond_a_limit_is_passed_over(latency: float, registered: str) -> None:
    finalist = run_of("finalist-002", 0.75, 3.0, role="finalist")
    refit = run_of("refit-002", 0.0, latency, seconds=90.0, role="refit")
    found = registered_run([*TRIALS, finalist, refit], finalist, LIMITS)
    assert found.key == registered
    assert registered_run([*TRIALS, finalist, refit], finalist).key == "refit-002"


def test_the_nearest_is_named_where_none_is_within() -> None:
    assert nearest_run([SLOW, LONG, UNKNOWN], "valid/accuracy", LIMITS) == SLOW
    assert none_within([SLOW, LONG], OBJECTIVES) == (
        "no trial is within latency=5ms, seconds=30s, so nothing is registered; the nearest is "
        "0 gru: latency 6 ms, valid/accuracy 0.9000"
    )
    assert none_within([SLOW, GOOD], OBJECTIVES) is None
    assert none_within([], OBJECTIVES) is None
    assert str(none_within([UNKNOWN], OBJECTIVES)).endswith(
        "4 gru: no latency/single_text_ms, valid/accuracy 0.9900"
    )


def test_the_front_has_the_best_first_and_only_what_is_known_of_all() -> None:
    without_seconds = Objectives("valid/accuracy", ("latency",))
    assert front_of(TRIALS, without_seconds) == [SLOW, LONG, FAST, STOPPED]
    # A trial that was stopped has not spent the seconds that it would have.
    assert front_of(TRIALS, OBJECTIVES) == [SLOW, LONG, GOOD, FAST]
    assert front_of(TRIALS, Objectives("valid/accuracy")) == [UNKNOWN]


def test_a_front_is_shown_with_its_units_and_limits() -> None:
    table = front_table([SLOW, GOOD], OBJECTIVES)
    assert table.columns == [
        "trial", "#valid/accuracy", "#latency", "#seconds", "within limits", "outcome",
    ]  # fmt: skip
    rows = [[cell.text for cell in row] for row in table.rows]
    assert rows == [
        ["0 gru", "0.9000", "6 ms", "10.0 s", "no", "completed"],
        ["1 gru", "0.8000", "5 ms", "10.0 s", "yes", "completed"],
    ]
    assert front_plain([GOOD], Objectives("valid/accuracy")) == {}
    assert front_plain([GOOD], OBJECTIVES)["front"] == [
        {"trial": 1, "run_id": "run-1", "valid/accuracy": 0.8, "latency": 5.0, "seconds": 10.0}
    ]


def test_the_leaderboard_has_the_latency() -> None:
    table = leaderboard([SLOW, FAST], "valid/accuracy")
    assert list(table["latency/single_text_ms"]) == [6.0, 2.0]
