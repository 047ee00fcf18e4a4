"""Workers and rungs."""

import math
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ray.tune.schedulers import AsyncHyperBandScheduler

from sentiment.errors import InputError
from sweeps.execution.resources import Node, Workers, describe_nodes, plan_rungs, plan_workers
from sweeps.execution.tuner import ResumableASHA, make_scheduler


@pytest.mark.parametrize(
    ("cores", "gpus", "asked", "workers"),
    [
        (2, 0, {}, Workers(2, 1, 0.0)),
        (8, 0, {"cpus_per_trial": 3}, Workers(2, 3, 0.0)),
        (8, 0, {"concurrency": 5}, Workers(5, 1, 0.0, 5)),
        (16, 1, {}, Workers(4, 4, 0.25)),
        (16, 2, {"gpus_per_trial": 1}, Workers(2, 8, 1)),
        (16, 2, {"gpus_per_trial": 0.4}, Workers(4, 4, 0.4)),
        (3, 1, {}, Workers(3, 1, 0.25)),
        (16, 8, {"gpus_per_trial": 2}, Workers(4, 4, 2)),
        (16, 1, {"gpus_per_trial": 0}, Workers(16, 1, 0)),
    ],
)
def test_trials_are_spread_over_what_there_is(cores, gpus, asked, workers):
    assert plan_workers([Node(cores, gpus)], **asked) == workers


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"gpus_per_trial": 1}, "0 GPUs are here; give at most that"),
        ({"gpus_per_trial": -1}, "give 0 to 1, or a whole number"),
        ({"cpus_per_trial": 3}, "give 1 to 2"),
        ({"concurrency": 3}, "give 1 to 2, as many trials as fit at once$"),
        ({"concurrency": 2, "cpus_per_trial": 2}, "fewer --cpus-per-trial make room"),
        ({"concurrency": 0}, "give 1 to 2, as many trials as fit at once$"),
    ],
)
def test_more_than_there_is_is_refused(asked, message):
    with pytest.raises(InputError, match=message):
        plan_workers([Node(2)], **asked)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"cpus_per_trial": 2}, "give 1, the only core here"),
        ({"concurrency": 2}, "give 1: no more than one trial fits at once"),
    ],
)
def test_a_range_of_one_is_told_as_one(asked, message):
    with pytest.raises(InputError, match=message):
        plan_workers([Node(1)], **asked)


NODES = [
    Node(16, 4, "10.0.0.1", "A100"),
    Node(8, 1, "10.0.0.2", "T4"),
    Node(32, 0, "10.0.0.3"),
    Node(0, 0, "10.0.0.4"),
]


@pytest.mark.parametrize(
    ("asked", "workers"),
    [
        # 16 on the first node by its cores, 4 on the second.
        ({}, Workers(20, 1, 0.25)),
        ({"gpus_per_trial": 1}, Workers(5, 4, 1)),
        ({"gpus_per_trial": 2}, Workers(2, 8, 2)),
        ({"gpus_per_trial": 0}, Workers(56, 1, 0)),
        ({"gpus_per_trial": 0, "cpus_per_trial": 10}, Workers(4, 10, 0)),
        ({"concurrency": 3}, Workers(3, 2, 0.25, 3)),
    ],
)
def test_trials_are_spread_over_the_nodes_of_a_cluster(asked, workers):
    assert plan_workers(NODES, **asked) == workers
    assert workers.room(NODES) == workers.count
    assert workers.room([]) == 0


def test_a_trial_needs_one_node():
    with pytest.raises(InputError, match="4 GPUs are on any one node"):
        plan_workers(NODES, gpus_per_trial=5)
    with pytest.raises(InputError, match="give 1 to 16, the cores on any one node"):
        plan_workers(NODES, cpus_per_trial=17)


def test_the_nodes_of_a_cluster_are_told_by_kind():
    assert describe_nodes([*NODES, Node(32, 0, "10.0.0.5")]) == (
        "1 node of 16 cores and 4 A100, 1 node of 8 cores and 1 T4, 2 nodes of 32 cores"
    )


def test_fewer_workers_get_more_memory_each():
    shared = plan_workers([Node(16, 2)])
    assert (shared.count, shared.memory_share) == (8, pytest.approx(0.225))
    half = shared.reduce_concurrency([Node(16, 2)])
    assert (half.count, half.gpus, half.memory_share) == (4, 0.5, pytest.approx(0.45))
    whole = half.reduce_concurrency([Node(16, 2)])
    assert (whole.count, whole.gpus, whole.memory_share) == (2, 1.0, None)
    assert whole.reduce_concurrency([Node(16, 2)]) is None
    cores = plan_workers([Node(5)])
    fewer = cores.reduce_concurrency([Node(5)])
    assert [fewer.count, fewer.room([Node(5)])] == [2, 2]
    assert plan_workers([Node(1)]).reduce_concurrency([Node(1)]) is None


@given(epochs=st.floats(0.05, 200), examples=st.integers(10, 100_000))
@example(epochs=0.5, examples=10)
@example(epochs=3.0, examples=17_500)
def test_the_first_rung_is_well_under_an_epoch_and_evaluated(epochs, examples):
    rungs = plan_rungs(epochs, examples)
    assert 1 <= rungs.first <= max(1, 0.4 * examples)
    # One is due at half the interval and at every multiple of it, so at or after each rung.
    assert rungs.evaluations["early_evaluations"] == 1
    interval = examples / rungs.evaluations["evaluations_per_epoch"]
    for rung in rungs.milestones:
        due = max(1, math.ceil(rung / interval - 1e-6)) * interval
        if rung == rungs.first:
            due = interval / 2
        assert rung == 1 or -1e-6 < due - rung < 1 + 1e-6
    assert list(rungs.milestones) == sorted(set(rungs.milestones))
    assert rungs.milestones[-1] <= max(1, rungs.budget)


def test_the_default_budget():
    rungs = plan_rungs(3, 17_500)
    assert rungs.milestones == (6562, 13125, 26250)
    assert (rungs.budget, rungs.evaluations_per_epoch) == (52_500, pytest.approx(4 / 3))
    with pytest.raises(InputError, match="--max-epochs"):
        plan_rungs(0, 10)


def test_the_schedulers_rungs_are_the_plans():
    scheduler = make_scheduler("asha", plan_rungs(3, 17_500), "valid/loss")
    assert isinstance(scheduler, AsyncHyperBandScheduler)
    at = sorted(milestone for milestone, _ in scheduler._brackets[0]._rungs)
    assert at[:3] == [6562, 13124, 26248]
    assert scheduler._metric_op == -1.0


def test_a_trial_that_starts_again_stands_in_the_rungs_that_it_passed():
    """And in no other: at the evaluation that it has to repeat it is judged anew."""
    known = {}
    scheduler = make_scheduler("asha", plan_rungs(2, 800), "valid/accuracy", lambda i: known)
    assert isinstance(scheduler, ResumableASHA)
    scheduler.recall([{200: 0.6, 400: 0.7, 800: 0.8}, {200: 0.5}])
    trial = SimpleNamespace(trial_id="again")
    scheduler.on_trial_add(None, trial)
    rungs = dict(scheduler._brackets[0]._rungs)
    assert rungs[200] == {"before-0": 0.6, "before-1": 0.5}
    assert rungs[400] == {"before-0": 0.7}
    weak = {"examples": 410, "valid/accuracy": 0.55}
    # The rung has stopped it, but its worker died before that was done.
    assert scheduler.on_trial_result(None, trial, weak) == "STOP"
    known.update({205: 0.65})
    scheduler.on_trial_add(None, trial)
    assert rungs[200] == {"before-0": 0.6, "before-1": 0.5, "again": 0.65}
    assert "again" not in rungs[400]
    assert scheduler.on_trial_result(None, trial, {**weak, "examples": 205}) == "CONTINUE"
    assert scheduler.on_trial_result(None, trial, weak) == "STOP"
