"""Schedulers: which trials they stop, and trials that they see again after an interruption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from sweeps.config import SCHEDULERS
from sweeps.search.optuna_searcher import EndedTrial
from sweeps.search.population import PBT
from sweeps.search.rungs import bracket_of, plan_rungs
from sweeps.search.schedulers import (
    MEDIAN_OF,
    PopulationTurns,
    ResumableASHA,
    ResumableMedian,
    make_scheduler,
)

RUNGS = plan_rungs(2, 800)  # at 200, 400 and 800 of 1,600 examples


@dataclass(eq=False)  # as Ray's trials are hashed by what they are, not by what they hold
class RayTrial:
    trial_id: str
    config: dict[str, Any]


def trial_of(number: int) -> Any:
    return RayTrial(f"trial-{number}", {"trial": number})


def ended(number: int, values: Mapping[int, float]) -> EndedTrial:
    return EndedTrial(number, {}, "completed", dict(values))


def result_of(examples: int, value: float) -> dict[str, float]:
    return {"examples": examples, "valid/accuracy": value}


def train(scheduler: TrialScheduler, number: int, values: Mapping[int, float]) -> str | int:
    """Report the values of a new trial until it is stopped; return where, or `CONTINUE`."""
    trial = trial_of(number)
    scheduler.on_trial_add(None, trial)
    for examples, value in values.items():
        if scheduler.on_trial_result(None, trial, result_of(examples, value)) == "STOP":
            return examples
    return "CONTINUE"


def test_every_name_has_a_scheduler() -> None:
    names = [name for name in SCHEDULERS if name != PBT]
    kinds = {name: type(make_scheduler(name, RUNGS, "valid/loss")) for name in names}
    assert kinds == {
        "asha": ResumableASHA,
        "hyperband": ResumableASHA,
        "median": ResumableMedian,
        "fifo": FIFOScheduler,
    }


def test_the_schedulers_rungs_are_the_plans() -> None:
    scheduler = make_scheduler("asha", plan_rungs(3, 17_500), "valid/loss")
    assert isinstance(scheduler, AsyncHyperBandScheduler)
    at = sorted(milestone for milestone, _ in scheduler._brackets[0]._rungs)
    assert at[:3] == [6562, 13124, 26248]
    assert scheduler._metric_op == -1.0


def test_a_trial_that_starts_again_stands_in_the_rungs_that_it_passed() -> None:
    """And in no other: at the evaluation that it has to repeat it is judged anew."""
    known: dict[int, float] = {}
    scheduler = make_scheduler("asha", RUNGS, "valid/accuracy", lambda i: known)
    assert isinstance(scheduler, ResumableASHA)
    scheduler.restore_trials([ended(0, {200: 0.6, 400: 0.7, 800: 0.8}), ended(1, {200: 0.5})])
    trial = trial_of(2)
    scheduler.on_trial_add(None, trial)
    rungs = dict(scheduler._brackets[0]._rungs)
    assert rungs[200] == {"before-0": 0.6, "before-1": 0.5}
    assert rungs[400] == {"before-0": 0.7}
    weak = result_of(410, 0.55)
    # The rung has stopped it, but its worker died before that was done.
    assert scheduler.on_trial_result(None, trial, weak) == "STOP"
    known.update({205: 0.65})
    scheduler.on_trial_add(None, trial)
    assert rungs[200] == {"before-0": 0.6, "before-1": 0.5, "trial-2": 0.65}
    assert "trial-2" not in rungs[400]
    assert scheduler.on_trial_result(None, trial, result_of(205, 0.55)) == "CONTINUE"
    assert scheduler.on_trial_result(None, trial, weak) == "STOP"


def test_half_of_the_trials_are_in_the_first_bracket() -> None:
    assert [bracket_of(number, 3) for number in range(8)] == [0, 1, 0, 2, 0, 1, 0, 2]
    assert [bracket_of(number, 1) for number in range(8)] == [0] * 8


def test_a_trial_of_a_later_bracket_is_compared_from_a_later_rung_on() -> None:
    scheduler = make_scheduler("hyperband", RUNGS, "valid/accuracy")
    strong, weak = {200: 0.9, 400: 0.9, 800: 0.9}, {200: 0.1, 400: 0.1, 800: 0.1}
    for number in (0, 1, 3):  # one of each bracket
        assert train(scheduler, number, strong) == "CONTINUE"
    assert train(scheduler, 2, weak) == 200
    assert train(scheduler, 5, weak) == 400
    assert train(scheduler, 7, weak) == 800
    again = make_scheduler("hyperband", RUNGS, "valid/accuracy")
    assert isinstance(again, ResumableASHA)
    again.restore_trials([ended(1, strong)])
    assert train(again, 0, weak) == "CONTINUE"  # nothing in its own bracket
    assert train(again, 5, weak) == 400


@pytest.mark.parametrize("restored", [False, True])
def test_the_median_stops_what_is_worse_than_the_others_means(restored: bool) -> None:
    scheduler = make_scheduler("median", RUNGS, "valid/accuracy")
    assert isinstance(scheduler, ResumableMedian)
    others = [{200: 0.5 + number / 100, 800: 0.8} for number in range(MEDIAN_OF)]
    if restored:
        scheduler.restore_trials(ended(n, values) for n, values in enumerate(others))
    else:
        for number, values in enumerate(others):
            assert train(scheduler, number, values) == "CONTINUE"
    # The others' means: 0.50 to 0.54 at 200 examples, 0.65 to 0.67 at 800.
    assert train(scheduler, 10, {100: 0.1, 200: 0.53, 800: 0.65}) == 800
    assert train(scheduler, 11, {100: 0.1, 200: 0.51}) == 200
    assert train(scheduler, 12, {200: 0.52, 800: 0.67, 1600: 0.67}) == "CONTINUE"


@pytest.mark.parametrize("name", ["asha", "hyperband", "median"])
def test_a_trial_that_is_spared_is_compared_and_not_stopped(name: str) -> None:
    """Until its budget is used up, where ASHA ends every trial."""
    scheduler = make_scheduler(
        name, RUNGS, "valid/accuracy", spared=lambda trial_id: trial_id == "trial-8"
    )
    for number in (0, 2, 4, 6, 10, 12):
        assert train(scheduler, number, {200: 0.9, 400: 0.9}) == "CONTINUE"
    assert train(scheduler, 8, {200: 0.3, 400: 0.3, 800: 0.3}) == "CONTINUE"
    assert train(scheduler, 14, {200: 0.3}) == 200
    if name == "asha":
        assert train(scheduler, 8, {1600: 0.3}) == 1600


def test_the_median_needs_enough_others() -> None:
    scheduler = make_scheduler("median", RUNGS, "valid/accuracy")
    for number in range(MEDIAN_OF):
        assert train(scheduler, number, {200: 0.9 - number / 10}) == "CONTINUE"
    assert train(scheduler, MEDIAN_OF, {200: 0.1}) == 200


def test_a_loss_is_better_below_the_median() -> None:
    scheduler = make_scheduler("median", RUNGS, "valid/loss")
    for number, loss in enumerate((0.3, 0.3, 0.3, 0.3, 0.3, 0.2, 0.4)):
        trial = trial_of(number)
        scheduler.on_trial_add(None, trial)
        decision = scheduler.on_trial_result(None, trial, {"examples": 200, "valid/loss": loss})
        assert decision == ("STOP" if loss == 0.4 else "CONTINUE")


def test_the_mean_of_examples_follows_from_the_rungs() -> None:
    """By hand: 200 examples of all, then 200 of a half, 400 of a quarter, 800 of an eighth."""
    first = 200 + 200 / 2 + 400 / 4 + 800 / 8
    second = 400 + 400 / 2 + 800 / 4
    third = 800 + 800 / 2
    assert RUNGS.mean_examples("fifo") == 1600
    assert RUNGS.mean_examples("asha") == first
    assert RUNGS.mean_examples("hyperband") == (2 * first + second + third) / 4
    assert RUNGS.mean_examples("median") == (200 + 1600) / 2


def test_a_turn_of_a_population_ends_at_its_milestone() -> None:
    ended: list[str] = []
    reached = {"trial-0": {}, "trial-1": {210: 0.5}}
    cache = MaxOfCache()
    controller = SimpleNamespace(_tune_controller=SimpleNamespace(_actor_cache=cache))
    scheduler = PopulationTurns([200, 400], reached.__getitem__, ended.append)
    first, second, last = trial_of(0), trial_of(1), trial_of(2)
    reached["trial-2"] = {200: 0.5, 410: 0.6}
    for trial in (first, second, last):
        trial.placement_group_factory = "a core"
        scheduler.on_trial_add(controller, trial)
    assert cache.kept > 1000  # once
    assert scheduler.on_trial_result(None, first, result_of(190, 0.5)) == "CONTINUE"
    assert scheduler.on_trial_result(None, first, result_of(205, 0.5)) == "STOP"
    assert scheduler.on_trial_result(None, second, result_of(390, 0.5)) == "CONTINUE"
    assert scheduler.on_trial_result(None, second, result_of(400, 0.5)) == "STOP"
    assert scheduler.on_trial_result(None, last, result_of(599, 0.5)) == "CONTINUE"
    assert ended == ["trial-0", "trial-1"]


class MaxOfCache:
    """How many idle workers Ray keeps."""

    def __init__(self) -> None:
        self.kept = 0

    def increase_max(self, key: str, by: int) -> None:
        assert self.kept == 0
        self.kept += by
