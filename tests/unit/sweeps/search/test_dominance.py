"""Dominance among running trials, and which of them schedulers stop by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from sweeps.objectives import Objectives
from sweeps.search.dominance import Dominance, values_of
from sweeps.search.optuna_searcher import EndedTrial
from sweeps.search.rungs import plan_rungs
from sweeps.search.schedulers import MEDIAN_OF, Resumable, make_scheduler
from sweeps.search.trial_attributes import Evaluations

RUNGS = plan_rungs(2, 800)  # at 200, 400 and 800 of 1,600 examples
OBJECTIVES = Objectives("valid/accuracy", ("latency", "seconds"))
LIMITED = Objectives.parse(["valid/accuracy", "latency"], ["latency=5ms"])


@dataclass(eq=False)  # as Ray's trials are hashed by what they are, not by what they hold
class RayTrial:
    trial_id: str
    config: dict[str, Any]


def reached(accuracy: float, latency: float, seconds: float = 1.0) -> dict[str, float]:
    return {"valid/accuracy": accuracy, "latency": latency, "seconds": seconds}


def result(examples: int, accuracy: float, latency: float, seconds: float = 1.0) -> dict[str, Any]:
    """Return an evaluation as Ray gives it to schedulers, flat."""
    return {
        "examples": examples,
        "valid/accuracy": accuracy,
        "seconds/total": seconds,
        "facts/latency/single_text_ms": latency,
        "facts/parameters/total": 1000,
    }


def dominance_of(
    trials: Mapping[str, Evaluations], objectives: Objectives = OBJECTIVES
) -> Dominance:
    dominance = Dominance(objectives)
    for trial_id, evaluations in trials.items():
        dominance.place(trial_id, evaluations)
    return dominance


def test_values_are_those_that_an_evaluation_has() -> None:
    facts = {"latency/single_text_ms": 3.0, "parameters/total": 10}
    evaluation = {"valid/accuracy": 0.8, "seconds/total": 12.0}
    assert values_of(OBJECTIVES, evaluation, facts) == reached(0.8, 3.0, 12.0)
    assert values_of(OBJECTIVES, evaluation, {}) == {"valid/accuracy": 0.8, "seconds": 12.0}
    assert values_of(OBJECTIVES, {"valid/accuracy": float("nan")}, facts) is None
    assert values_of(OBJECTIVES, {}, facts) is None


def test_trials_are_compared_at_the_same_rung() -> None:
    weak = {200: reached(0.6, 2.0, 3.0)}
    strong = {205: reached(0.7, 2.0, 2.0), 400: reached(0.9, 2.0, 9.0)}
    dominance = dominance_of({"weak": weak, "strong": strong})
    assert dominance.is_dominated("weak", 200)
    assert not dominance.is_dominated("strong", 200)
    # At a later rung there is nothing to compare with.
    dominance.place("weak", {**weak, 800: reached(0.65, 2.0)})
    assert not dominance.is_dominated("weak", 800)


@pytest.mark.parametrize(
    ("other", "dominated"),
    [
        (reached(0.7, 2.0), True),
        (reached(0.7, 2.1), False),
        (reached(0.7, 2.0, 1.5), False),
        (reached(0.6, 2.0), False),  # an equal
        ({"valid/accuracy": 0.7, "latency": 2.0}, True),  # by what is known of both
    ],
)
def test_a_trial_is_dominated_by_all_objectives_together(
    other: dict[str, float], dominated: bool
) -> None:
    dominance = dominance_of({"one": {200: reached(0.6, 2.0)}, "other": {200: other}})
    assert dominance.is_dominated("one", 200) is dominated
    assert not dominance.is_dominated("one", 200, others=["one"])


def test_what_exceeds_a_limit_is_spared_for_nothing() -> None:
    slow, fast = {200: reached(0.9, 6.0)}, {200: reached(0.5, 4.0)}
    dominance = dominance_of({"slow": slow, "fast": fast}, LIMITED)
    assert dominance.is_dominated("slow", 200)
    assert not dominance.is_dominated("fast", 200)


def scheduler_of(name: str, known: Mapping[str, Evaluations] | None = None) -> TrialScheduler:
    known = known or {}

    def evaluations(trial_id: str) -> Evaluations:
        return known.get(trial_id, {})

    return make_scheduler(
        name,
        RUNGS,
        "valid/accuracy",
        lambda trial_id: {s: v["valid/accuracy"] for s, v in evaluations(trial_id).items()},
        dominance=Dominance(OBJECTIVES, evaluations),
    )


def decisions(scheduler: TrialScheduler, number: int, *results: dict[str, Any]) -> list[str]:
    trial: Any = RayTrial(f"trial-{number}", {"trial": number})
    scheduler.on_trial_add(None, trial)
    return [scheduler.on_trial_result(None, trial, each) for each in results]


@pytest.mark.parametrize("name", ["asha", "hyperband", "median"])
def test_of_the_weaker_trials_the_dominated_ones_end(name: str) -> None:
    scheduler = scheduler_of(name)
    first_bracket = [2 * n for n in range(MEDIAN_OF)]
    for number in first_bracket:
        assert decisions(scheduler, number, result(200, 0.9, 4.0)) == ["CONTINUE"]
    assert decisions(scheduler, 20, result(200, 0.5, 4.0)) == ["STOP"]
    assert decisions(scheduler, 22, result(200, 0.5, 3.0)) == ["CONTINUE"]
    assert decisions(scheduler, 24, result(200, 0.5, 4.0, seconds=0.5)) == ["CONTINUE"]
    # Number 22 dominates it.
    assert decisions(scheduler, 26, result(200, 0.4, 3.5)) == ["STOP"]


@pytest.mark.parametrize("name", ["asha", "median"])
def test_a_resumed_search_knows_what_dominated(name: str) -> None:
    over = {200: reached(0.9, 4.0), 400: reached(0.9, 4.0)}
    ended = [EndedTrial(n, {}, "completed", {200: 0.9, 400: 0.9}, over) for n in range(MEDIAN_OF)]
    scheduler = scheduler_of(name, {"trial-30": {200: reached(0.5, 4.5)}})
    assert isinstance(scheduler, Resumable)
    scheduler.restore_trials(ended)
    assert decisions(scheduler, 30, result(400, 0.5, 4.5)) == ["STOP"]
    assert decisions(scheduler, 31, result(200, 0.5, 3.0), result(400, 0.5, 3.0)) == [
        "CONTINUE",
        "CONTINUE",
    ]


def test_a_trial_on_the_front_ends_with_its_budget() -> None:
    scheduler = scheduler_of("asha")
    assert decisions(scheduler, 0, result(1600, 0.9, 4.0)) == ["STOP"]
    assert decisions(scheduler, 1, result(1600, 0.5, 3.0)) == ["STOP"]
